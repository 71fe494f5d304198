"""What may happen to a version of the catalog: drafted, reviewed by every province, released jointly, never changed.

The steps only; where versions are kept is another's matter: a folder (`versions`) or the service's database.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Final

from apps_catalog.catalog import HEAD_FILE, Catalog
from apps_catalog.errors import CatalogError, Problem
from apps_catalog.fields import MAX_TEXT
from apps_catalog.lint import findings
from hsm.primitives import default_engine

MAX_AHEAD: Final = timedelta(days=366)
"""Nothing may take effect before what is released already: a year mistyped would stop every later version."""
VERSION: Final = re.compile(r"\d{4}\.\d{1,2}\.\d{1,3}", re.ASCII)
_HEAD_VERSION: Final = re.compile(r"(?m)^version\s*=.*$")
_HEAD_PUBLISHED: Final = re.compile(r"(?m)^published\s*=.*$")


class VersionError(Exception):
    """A step the version's state does not allow, or content that may not become a version; `zh` says it in Chinese."""

    failure: ClassVar[str] = "CONFLICT"

    def __init__(self, text: str, zh: str) -> None:
        super().__init__(text)
        self.zh = zh


class NoVersionError(VersionError):
    failure = "NOT_FOUND"


class EffectiveDayError(VersionError):
    """A day on which no version can begin, whatever its state."""

    failure = "INPUT_INVALID"


class Stage(StrEnum):
    """`review`: some province has spoken, not yet all of them for it."""

    DRAFT = "draft"
    REVIEW = "review"
    ACCEPTED = "accepted"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Review:
    """What one province said of a version; of several by one province the last counts."""

    region: str
    accepts: bool
    by: str
    note: str
    on: date

    def to_json(self) -> dict[str, Any]:
        return {
            "region": self.region,
            "accepts": self.accepts,
            "by": self.by,
            "note": self.note,
            "on": self.on.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Version:
    """`effective` is the first day of a released version; `again` the older version whose content it repeats."""

    number: str
    drafted: date
    note: str
    files: Mapping[str, str]
    again: str | None = None
    reviews: tuple[Review, ...] = ()
    released: date | None = None
    effective: date | None = None

    def missing(self, regions: tuple[str, ...]) -> list[str]:
        """Regions whose last word is not yes."""
        last = {review.region: review.accepts for review in self.reviews}
        return [region for region in regions if not last.get(region)]

    def stage(self, regions: tuple[str, ...]) -> Stage:
        if self.released is not None:
            return Stage.RELEASED
        if not self.reviews:
            return Stage.DRAFT
        return Stage.REVIEW if self.missing(regions) else Stage.ACCEPTED

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.number,
            "drafted": self.drafted.isoformat(),
            "note": self.note,
            "files": dict(self.files),
            "again": self.again,
            "reviews": [review.to_json() for review in self.reviews],
            "released": self.released.isoformat() if self.released else None,
            "effective": self.effective.isoformat() if self.effective else None,
        }


def demand_sound(catalog: Catalog, on: date) -> None:
    """Raises CatalogError for what lint objects to."""
    faults = [Problem(HEAD_FILE, ", ".join(finding.items), "", finding.text.en) for finding in findings(catalog, on)]
    if faults:
        raise CatalogError(faults)


def demand_last(number: str, known: Iterable[Version]) -> None:
    """Raises VersionError for a number that does not come after all others."""
    last = max((version.number for version in known), key=order, default=None)
    if last is not None and order(number) <= order(last):
        raise VersionError(
            f"{number} does not come after {last}; raise it in {HEAD_FILE}",
            f"{number}不在{last}之后；请在{HEAD_FILE}里改大",
        )


def demand_items_rose(old: Catalog, new: Catalog) -> None:
    """An item that says something else has a higher version, so that everybody can tell which one they have."""
    before = {item.id: item for item in old.items}
    stale = [
        item.id
        for item in new.items
        if item.id in before and item != before[item.id] and item.version <= before[item.id].version
    ]
    if stale:
        named = ", ".join(stale)
        raise VersionError(
            f"changed since {old.version}, but the item's version did not rise: {named}",
            f"自{old.version}以来改过、版本号却没有升：{named}",
        )


def reviewed(version: Version, regions: tuple[str, ...], review: Review) -> Version:
    """With a province's word. Raises VersionError after release and for a region the catalog does not have."""
    if version.released is not None:
        raise VersionError(
            f"{version.number} was released on {version.released} and is not reviewed any more",
            f"{version.number}已于{version.released}发布，不再审核",
        )
    if review.region not in regions:
        raise VersionError(f"{review.region} is no region of {version.number}", f"{version.number}不含{review.region}")
    one_line("by", review.by)
    one_line("note", review.note)
    return replace(version, reviews=(*version.reviews, review))


def released(
    version: Version, regions: tuple[str, ...], known: Sequence[Version], *, effective: date, on: date
) -> Version:
    """Published jointly, from `effective` on, which is `on` or at most a year later; `known` are all versions.

    Raises VersionError without the yes of every province, and where a later version was released or is to take
    effect before this one.
    """
    missing = version.missing(regions)
    if version.released is not None:
        raise VersionError(
            f"{version.number} was released on {version.released}", f"{version.number}已于{version.released}发布"
        )
    if missing:
        named = ", ".join(missing)
        raise VersionError(f"{version.number} waits for the yes of {named}", f"{version.number}还缺{named}的同意")
    if effective < on:
        raise EffectiveDayError(
            f"{effective} is past; a version takes effect on the day of its release or later",
            f"{effective}已过；最早在发布当天生效",
        )
    if effective - on > MAX_AHEAD:
        raise EffectiveDayError(
            f"{effective} is more than {MAX_AHEAD.days} days away; a later version could not come before it",
            f"{effective}离今天超过{MAX_AHEAD.days}天；后面的版本不能早于它，请核对年份",
        )
    before = [other for other in known if other.effective is not None]
    newest = max((other.number for other in before), key=order, default=version.number)
    if order(version.number) < order(newest):
        raise VersionError(
            f"{newest} was released meanwhile; draft again what it is to change",
            f"期间已发布{newest}；请在它的基础上再改",
        )
    latest = max((other.effective for other in before if other.effective), default=effective)
    if effective < latest:
        raise VersionError(
            f"a version from {latest} on is released already; nothing may take effect before it",
            f"已发布的版本自{latest}起生效，不能早于它",
        )
    return replace(version, released=on, effective=effective)


def in_force(versions: Iterable[Version], on: date) -> Version | None:
    """The released version that counts on that day."""
    known = [version for version in versions if version.effective is not None and version.effective <= on]
    return max(known, key=lambda version: (version.effective, order(version.number)), default=None)


def next_number(known: Iterable[str], on: date) -> str:
    """A number of that day's week (GB/T 7408, ISO 8601) that comes after all of `known`."""
    year, week, _ = on.isocalendar()
    last = max(map(order, known), default=(0, 0, 0))
    if last < (year, week, 1):
        return f"{year}.{week}.1"
    return f"{last[0]}.{last[1]}.{last[2] + 1}"


def renumbered(head: str, number: str, published: date) -> str:
    """The text of `catalog.toml` under another number and day. Raises VersionError for what is no number."""
    if not VERSION.fullmatch(number):
        raise VersionError(f"{number!r} is no version such as 2026.47.1", "版本号要写成2026.47.1这样")
    text = _HEAD_VERSION.sub(f'version = "{number}"', head, count=1)
    return _HEAD_PUBLISHED.sub(f"published = {published}", text, count=1)


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """SM3 of each file, in hex."""
    return {name: default_engine().sm3(raw).hex() for name, raw in sorted(files.items())}


def demand_manifest(version: Version, files: Mapping[str, bytes]) -> None:
    """Raises CatalogError for files that are not those the version was drafted with."""
    found = digests(files)
    problems = [
        Problem(f"{version.number}/{name}", "", "", "is not the file that was drafted")
        for name in sorted({*found, *version.files})
        if not hmac.compare_digest(found.get(name, ""), version.files.get(name, ""))
    ]
    if problems:
        raise CatalogError(problems)


def order(number: str) -> tuple[int, ...]:
    return tuple(map(int, number.split(".")))


def one_line(field: str, text: str) -> str:
    """Raises VersionError for what is longer or no line."""
    if len(text) > MAX_TEXT or not text.isprintable():
        raise VersionError(
            f"{field} must be one line of at most {MAX_TEXT} characters", f"{field}只能写一行，最多{MAX_TEXT}个字符"
        )
    return text
