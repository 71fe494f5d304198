"""Every answer, error pages and what lies beside the console too, says what a browser may do with it."""

from __future__ import annotations

import pytest

from tests.issuance.conftest import Centre, refused
from tests.issuance.console.conftest import Console, hidden_fields

BESIDE = ("/console", "/progress", "/catalog", "/catalog/items/none", "/static/nowhere.css", "/static/%2e%2e/app.py")
BESIDE += ("/", "/v1/nowhere", "/healthz")


async def test_no_answer_without_a_policy(console: Console) -> None:
    browser = await console.log_in("jianguan")
    for method, path in [*(("GET", path) for path in BESIDE), ("DELETE", "/console/login"), ("TRACE", "/console/")]:
        response = await browser.http.request(method, path, follow_redirects=False)
        assert response.headers["content-security-policy"].startswith("default-src 'none'"), path
        assert "unsafe" not in response.headers["content-security-policy"], path
        assert response.headers["x-frame-options"] == "DENY", path
        assert response.headers["x-content-type-options"] == "nosniff", path
        assert response.headers["cache-control"] == "no-store", path


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_form_that_is_too_large_is_answered_by_a_page(console: Console, language: str) -> None:
    """A photo straight from a camera is such a form."""
    browser = await console.log_in("caiji", language)
    await browser.get("/console/collect")
    token = hidden_fields(browser.text)["csrf"]
    large = {"photo": ("large.jpg", b"\xff\xd8\xff" + bytes(2_000_000), "image/jpeg")}
    response = await browser.http.post(f"/console/applications/{'0' * 32}/photo", data={"csrf": token}, files=large)
    assert (response.status_code, response.headers["content-type"]) == (413, "text/html; charset=utf-8")
    browser._shown(response)
    assert "INPUT_INVALID" in browser.words
    assert {"zh": "文件或请求太大，最多 1 MB", "en": "larger than 1 MB"}[language] in browser.words


async def test_a_program_gets_problem_details(centre: Centre) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": str(1 << 30)}
    refused(await centre.as_("operator").post("/v1/blanks", content=b"{}", headers=headers), "INPUT_INVALID", 413)
