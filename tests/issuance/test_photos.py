"""Photos: every reason in words with its measure; hostile bytes; stored sealed; taken by one person."""

from __future__ import annotations

import io
import os
import struct
from datetime import date
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from issuance.photos import endpoints
from issuance.photos.check import PhotoReport, check_day, check_photo, jpeg_quality
from issuance.photos.face import FaceFinder, face_finder
from issuance.rules import load_rules
from simulators.portrait import Portrait
from tests.issuance.conftest import REGION, Centre, both_engines, ok, refused

PROFILE = load_rules().pack(REGION).on(date(2026, 1, 5)).photo
SMALL = load_rules().pack("120000").on(date(2026, 1, 5)).photo
GOOD = Portrait().jpeg()


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    found = face_finder()
    if found is None:
        problem = "OpenCV is not installed (requirements/photo.txt)"
        if os.environ.get("CI"):
            pytest.fail(f"CI must have OpenCV: {problem}", pytrace=False)
        pytest.skip(problem)
    return found


def reasons(report: PhotoReport) -> list[str]:
    return [error.reason for error in report.errors]


def checked(finder: FaceFinder | None, **change: Any) -> PhotoReport:
    return check_photo(Portrait(**change).jpeg(), PROFILE, finder)


@pytest.mark.parametrize("seed", range(4))
def test_good_portraits(finder: FaceFinder, seed: int) -> None:
    report = checked(finder, seed=seed)
    assert reasons(report) == []
    assert report.is_geometry_checked
    measures = report.measures
    assert (measures["width"], measures["height"], measures["dpi"], measures["faces"]) == (358, 441, 350, 1)
    assert abs(measures["face_width"] - 190) < 12
    assert abs(measures["hair_top"] - 14) < 4
    assert abs(measures["eye_mid_x"] - 179) < 6
    assert abs(measures["eyes_above_bottom"] - (441 - 190)) < 6


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"face_width": 150}, "photo_face_width"),
        ({"hair_top": 40}, "photo_hair_top"),
        ({"hair_top": 0}, "photo_hair_top"),
        ({"centre_x": 215}, "photo_eyes_side"),
        ({"eye_y": 260}, "photo_eyes_low"),
        ({"has_eyes": False}, "photo_eyes"),
        ({"faces": 2, "face_width": 140}, "photo_faces"),
        ({"faces": 0}, "photo_no_face"),
    ],
)
def test_faces_that_do_not_fit(finder: FaceFinder, change: dict[str, Any], reason: str) -> None:
    assert reason in reasons(checked(finder, **change))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"background": (200, 210, 250)}, ["photo_background"]),
        ({"dpi": 72}, ["photo_dpi"]),
        ({"mode": "L"}, ["photo_colour"]),
        ({"quality": 60}, ["photo_kb", "photo_quality"]),
        ({"blur": 2.5}, ["photo_kb", "photo_blurred"]),
        ({"faces": 2, "face_width": 140}, ["photo_background_uneven"]),
        ({"width": 400}, ["photo_size"]),
    ],
)
def test_forms_that_do_not_fit(change: dict[str, Any], expected: list[str]) -> None:
    report = checked(None, **change)
    assert reasons(report) == expected
    assert not report.is_geometry_checked
    assert "faces" not in report.measures


def test_each_region_has_its_own_window() -> None:
    assert reasons(check_photo(GOOD, PROFILE, None)) == []
    assert reasons(check_photo(GOOD, SMALL, None)) == ["photo_kb"]
    assert reasons(check_photo(Portrait(quality=76).jpeg(), SMALL, None)) == []


def test_words_tell_measure_and_bound() -> None:
    (error,) = checked(None, dpi=72).errors
    assert "72" in error.text_zh
    assert "350" in error.text_en


@pytest.mark.parametrize("quality", range(30, 101, 10))
def test_quality_is_read_from_the_tables(quality: int) -> None:
    out = io.BytesIO()
    Image.new("RGB", (32, 32)).save(out, "JPEG", quality=quality)
    picture = Image.open(io.BytesIO(out.getvalue()))
    assert jpeg_quality(picture.quantization) == quality  # type: ignore[attr-defined]


def bomb(width: int, height: int) -> bytes:
    """A small JPEG whose header promises more pixels than it has."""
    data = bytearray(GOOD)
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bomb(60000, 60000), "photo_huge"),
        (bomb(8000, 3000), "photo_huge"),
        (GOOD[: len(GOOD) // 2], "photo_not_jpeg"),
        (b"", "photo_not_jpeg"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "photo_not_jpeg"),
    ],
)
def test_hostile_pictures(data: bytes, reason: str) -> None:
    assert reason in reasons(check_photo(data, PROFILE, None))


@settings(max_examples=80)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=40))
def test_any_damage_is_a_report(at: int, noise: bytes) -> None:
    report = check_photo(GOOD[:at] + noise + GOOD[at + len(noise) :], PROFILE, None)
    assert all(error.text_zh and error.remedy_en for error in report.errors)


def test_days() -> None:
    today = date(2026, 1, 5)
    assert [error.reason for error in check_day(date(2026, 1, 6), today, PROFILE)] == ["photo_taken_future"]
    assert [error.reason for error in check_day(date(2025, 7, 5), today, PROFILE)] == ["photo_taken_old"]
    assert check_day(date(2025, 7, 6), today, PROFILE) == []


# -- over the interface -----------------------------------------------------------------------------------------------


async def upload(centre: Centre, jpeg: bytes = GOOD, *, by: str = "operator", **query: str) -> httpx.Response:
    headers = {"Idempotency-Key": query.pop("key", "photo-key-0001"), "Content-Type": "image/jpeg"}
    params = {"region": REGION, "taken_on": "2026-01-04"} | query
    return await centre.as_(by).post("/v1/photos", content=jpeg, params=params, headers=headers)


async def confirm(centre: Centre, photo_id: str, *, is_face_good: bool = True) -> httpx.Response:
    headers = {"Idempotency-Key": f"confirm-{photo_id}"}
    body = {"is_face_good": is_face_good}
    return await centre.as_("operator").post(f"/v1/photos/{photo_id}/confirm", json=body, headers=headers)


@pytest.fixture
def no_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "face_finder", lambda: None)


@both_engines
async def test_a_photo_is_kept_sealed_and_given_back(centre: Centre, no_finder: None) -> None:
    photo = ok(await upload(centre), 201)
    assert ok(await upload(centre), 201) == photo
    refused(await upload(centre, Portrait(seed=2).jpeg()), "IDEMPOTENCY_CONFLICT", 409)
    assert GOOD[200:260] not in centre.store.stored()
    image = await centre.as_("operator").get(f"/v1/photos/{photo['id']}/image")
    assert (image.content, image.headers["content-type"]) == (GOOD, "image/jpeg")
    acts = [entry["act"] for entry in ok(await centre.as_("operator").get("/v1/audit"))]
    assert [act for act in acts if act.startswith("photo.")] == ["photo.read", "photo.store"]


async def test_what_does_not_fit_is_refused_with_every_reason(centre: Centre, no_finder: None) -> None:
    answer = await upload(centre, Portrait(dpi=72, background=(90, 90, 90)).jpeg(), taken_on="2025-01-01")
    fields = refused(answer, "PHOTO_REJECTED", 400)["fields"]
    assert [field["reason"] for field in fields] == ["photo_dpi", "photo_background", "photo_taken_old"]
    assert centre.store.sql("SELECT count(*) FROM photos") == [(0,)]


@both_engines
async def test_without_geometry_a_clerk_confirms(centre: Centre, no_finder: None) -> None:
    photo = ok(await upload(centre), 201)
    assert (photo["is_geometry_checked"], photo["needs_confirmation"]) == (False, True)
    fields = refused(await centre.apply(1, photo_id=photo["id"]), "INPUT_INVALID", 400)["fields"]
    assert [(field["location"], field["reason"]) for field in fields] == [("body.photo_id", "photo_unconfirmed")]
    assert ok(await confirm(centre, photo["id"]))["confirmed_by"] == "operator"
    assert ok(await centre.apply(1, photo_id=photo["id"]), 201)["photo_id"] == photo["id"]
    refused(await centre.apply(2, photo_id=photo["id"]), "INPUT_INVALID", 400)


async def test_a_clerk_may_refuse_a_face(centre: Centre, no_finder: None) -> None:
    photo = ok(await upload(centre), 201)
    ok(await confirm(centre, photo["id"], is_face_good=False))
    refused(await centre.as_("operator").get(f"/v1/photos/{photo['id']}"), "NOT_FOUND", 404)
    refused(await centre.apply(1, photo_id=photo["id"]), "INPUT_INVALID", 400)


async def test_checked_geometry_needs_no_clerk(centre: Centre, finder: FaceFinder) -> None:
    photo = ok(await upload(centre), 201)
    assert (photo["is_geometry_checked"], photo["needs_confirmation"]) == (True, False)
    created = ok(await centre.apply(1), 201)
    headers = {"Idempotency-Key": "choose-photo"}
    path = f"/v1/applications/{created['id']}/photo"
    chosen = await centre.as_("operator").post(path, json={"photo_id": photo["id"]}, headers=headers)
    assert ok(chosen)["photo_id"] == photo["id"]


async def test_photos_belong_to_regions(centre: Centre, no_finder: None) -> None:
    await centre.register("hebei", ("operator",), "130000")
    photo = ok(await upload(centre), 201)
    refused(await upload(centre, by="hebei"), "CLIENT_FORBIDDEN", 403)
    for path in ("", "/image"):
        refused(await centre.as_("hebei").get(f"/v1/photos/{photo['id']}{path}"), "NOT_FOUND", 404)
    accepted = ok(await upload(centre, by="hebei", accepted_region="130000"), 201)
    ok(await centre.as_("hebei").get(f"/v1/photos/{accepted['id']}"))
    ok(await confirm(centre, photo["id"]))
    fields = refused(await centre.apply(1, region="130000", photo_id=photo["id"]), "INPUT_INVALID", 400)["fields"]
    assert fields[0]["reason"] == "photo_other_region"


async def test_a_repeated_upload_gets_its_answer_though_the_photo_grew_old(centre: Centre, no_finder: None) -> None:
    photo = ok(await upload(centre, taken_on="2025-07-06"), 201)
    centre.clock.advance(20 * 3600)
    assert ok(await upload(centre, taken_on="2025-07-06"), 201) == photo
    refused(await upload(centre, taken_on="2025-07-06", key="photo-key-0002"), "PHOTO_REJECTED", 400)
