"""A browser without a screen: cookies, redirects, forms. It runs no script, as the log-in page does not need one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

import httpx

PATIENCE_S = 60.0
"""Of whatever asks here, on a machine that does other things as well."""
NOBODY = "http://127.0.0.1:9/back"
"""An address to go back to where nobody serves: the browser stops there, and its address is the answer."""


@dataclass(frozen=True)
class Form:
    action: str
    method: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Page:
    url: str
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def form(self) -> Form | None:
        """The first one, with what stands in it."""
        reader = _Forms()
        reader.feed(self.text)
        return None if reader.form is None else replace(reader.form, action=urljoin(self.url, reader.form.action))


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.form: Form | None = None
        self._is_over = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and self.form is None:
            self.form = Form(given.get("action", ""), given.get("method", "get"), {})
        elif tag == "input" and self.form is not None and not self._is_over and given.get("name"):
            self.form.fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self._is_over = self._is_over or (tag == "form" and self.form is not None)


class Browser:
    def __init__(self) -> None:
        self.http = httpx.Client(timeout=PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.http.close()

    def open(self, url: str) -> Page:
        return self._followed(self.http.get(url))

    def submit(self, page: Page, **fields: str) -> Page:
        """`fields` over what stands in the page's first form."""
        form = page.form
        assert form is not None, page.text
        values: dict[str, Any] = form.fields | fields
        headers = {"Origin": "/".join(page.url.split("/")[:3])}
        if form.method.lower() == "get":
            return self._followed(self.http.get(form.action, params=values))
        return self._followed(self.http.post(form.action, data=values, headers=headers))

    def _followed(self, response: httpx.Response) -> Page:
        while response.has_redirect_location:
            target = urljoin(str(response.url), response.headers["location"])
            if target.startswith(NOBODY):
                return Page(target)
            response = self.http.get(target)
        assert response.status_code < 400, f"{response.url}: {response.status_code} {response.text}"
        return Page(str(response.url), response.text, dict(response.headers))
