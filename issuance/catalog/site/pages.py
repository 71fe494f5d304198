"""`/catalog` for everybody: search and filters, one page per item, what changed. The address says all of a page."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import date
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from apps_catalog import Catalog, QueryError
from apps_catalog.version_rules import order
from issuance.audit.refusals import MinuteLimit
from issuance.catalog.current import Catalogs, Release
from issuance.catalog.site import asking, listing, query, views
from issuance.catalog.site.shelf import HTML, JSON, Kept, Shelf
from issuance.clerks.login import shortened
from issuance.clock import Clock, china_date
from issuance.console import guard
from issuance.console.page import Look
from issuance.input_rules import field_error
from issuance.problems import ProblemError, bad_input
from issuance.services import Services

ROOT: Final = "/catalog"
LIST: Final = f"{ROOT}/"
MOST_A_MINUTE: Final = 300
"""Pages nobody asked for before, drawn for one network in a minute."""
_FINDERS: Final = 8
router = APIRouter()
_METHODS: Final = ["GET", "HEAD"]
Pairs = list[tuple[str, str]]


def install(app: FastAPI, services: Services) -> None:
    pages = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    pages.state.services = services
    pages.state.site = Site(services.catalogs, services.clock, services.settings.login_issuer)
    policy = guard.content_security_policy("")
    guard.install(pages, policy, failure_page="catalog_site/failure.html", may_be_kept=True)
    pages.router.routes.extend(router.routes)
    app.mount(ROOT, pages)


class Site:
    """What all pages share: catalogs by version, pages drawn before, and how much may be drawn for whom."""

    def __init__(self, catalogs: Catalogs, clock: Clock, origin: str) -> None:
        self.catalogs = catalogs
        self.origin = origin
        self.shelf = Shelf()
        self._clock = clock
        self._drawn = MinuteLimit(MOST_A_MINUTE)
        self._finders: OrderedDict[str, listing.Finder] = OrderedDict()

    @property
    def today(self) -> date:
        return china_date(self._clock())

    def finder(self, catalog: Catalog) -> listing.Finder:
        found = self._finders.get(catalog.version)
        if found is None or found.catalog is not catalog:
            found = self._finders[catalog.version] = listing.Finder(catalog)
        while len(self._finders) > _FINDERS:
            self._finders.popitem(last=False)
        return found

    async def editions(self) -> tuple[Release, ...]:
        """Released versions, oldest first, after the packaged one that was in force before them."""
        released = await self.catalogs.releases()
        packaged = self.catalogs.packaged
        if order(packaged.version) < order(released[0].number):
            return (Release(packaged.version, packaged.published, packaged.published, ""), *released)
        return released

    async def news(self) -> tuple[Catalog, Catalog] | None:
        """The version before the one in force, and that one; None while there is one version only."""
        known = [edition for edition in await self.editions() if edition.effective <= self.today]
        if len(known) < 2:
            return None
        return await self.catalogs.get(known[-2].number), await self.catalogs.get(known[-1].number)

    def demand_patience(self, request: Request) -> None:
        """Raises PROGRESS_LIMITED when too many new pages are drawn for the network of the one who asks."""
        address = request.client.host if request.client is not None else ""
        if not self._drawn.allows(shortened(address), self._clock()):
            raise ProblemError("PROGRESS_LIMITED", "too many pages")


def site_of(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


@router.api_route("/", methods=_METHODS)
async def find(request: Request) -> Response:
    site, pairs = site_of(request), pairs_of(request)
    catalog = await site.catalogs.current(query.day_of(pairs))
    asked, wrong = query.read(pairs, catalog)
    if not wrong and _plain(pairs) != asked.pairs():
        return _to(request, asked.path(LIST))
    editions, news = await site.editions(), await site.news()
    look = Look.of(request)

    def context() -> dict[str, Any]:
        found = site.finder(catalog).find(asked, site.today)
        return views.of_listing(look.language, found, catalog, editions, news, site.today)

    if wrong:
        site.demand_patience(request)
        return look.draw("catalog_site/list.html", status=400, wrong=wrong, **_links(look, asked.pairs()), **context())
    latest = editions[-1].number
    key = ("list", catalog.version, latest, site.today, *asked.pairs())
    return _page(request, look, key, asked.pairs(), "catalog_site/list.html", lambda: {"wrong": ()} | context())


@router.api_route("/data", methods=_METHODS)
async def data(request: Request) -> Response:
    """What a page shows, in the form of `/v1/catalog`."""
    site, pairs = site_of(request), pairs_of(request)
    catalog = await site.catalogs.current(query.day_of(pairs))
    asked, wrong = query.read(pairs, catalog)
    if wrong:
        raise bad_input(*(field_error(f"query.{name}", "shape") for name in wrong))

    def body() -> bytes:
        found = {item.id for item in site.finder(catalog).find(asked, site.today).items}
        return views.as_json(catalog, [item for item in catalog.items if item.id in found])

    key = ("data", catalog.version, site.today, *asked.pairs())
    return _kept(request, key, body, JSON).answer(request)


@router.api_route("/items/{item_id}", methods=_METHODS)
async def item_page(request: Request, item_id: str) -> Response:
    site, pairs = site_of(request), pairs_of(request)
    on = query.day_of(pairs) or site.today
    catalog = await site.catalogs.current(on)
    try:
        item = catalog.item(item_id)
    except QueryError:
        raise ProblemError("NOT_FOUND", "no such item") from None
    asked, wrong = asking.read(pairs, catalog)
    path = f"{ROOT}/items/{item.id}"
    if not wrong and _plain(pairs) != asked.pairs():
        return _to(request, f"{path}?{urlencode(asked.pairs())}" if asked.pairs() else path)
    look = Look.of(request)

    def context() -> dict[str, Any]:
        answer = asking.ask(catalog, item, asked, on)
        return views.of_item(look.language, catalog, item, asked, answer, on, site.origin + path)

    if wrong:
        site.demand_patience(request)
        return look.draw("catalog_site/item.html", status=400, wrong=wrong, **_links(look, asked.pairs()), **context())
    key = ("item", catalog.version, on, item.id, *asked.pairs())
    return _page(request, look, key, asked.pairs(), "catalog_site/item.html", lambda: {"wrong": ()} | context())


@router.api_route("/changes", methods=_METHODS)
async def changes(request: Request) -> Response:
    site, pairs = site_of(request), pairs_of(request)
    editions = await site.editions()
    numbers = [edition.number for edition in editions]
    given = {name: value for name, value in reversed(pairs) if value}
    new = given.get("to", numbers[-1])
    if new not in numbers:
        raise ProblemError("NOT_FOUND", "no such version of the catalog")
    old = given.get("from", numbers[max(numbers.index(new) - 1, 0)])
    if old not in numbers:
        raise ProblemError("NOT_FOUND", "no such version of the catalog")
    before, after = await site.catalogs.get(old), await site.catalogs.get(new)
    current = await site.catalogs.current()
    look = Look.of(request)
    key = ("changes", old, new, numbers[-1], current.version, site.today)

    def context() -> dict[str, Any]:
        return views.of_changes(look.language, before, after, editions, current, site.today)

    return _page(request, look, key, [("from", old), ("to", new)], "catalog_site/changes.html", context)


def pairs_of(request: Request) -> Pairs:
    """Names and values of the address. Raises INPUT_INVALID for one that is too long."""
    raw: bytes = request.scope["query_string"]
    if len(raw) > query.MAX_QUERY_BYTES:
        raise bad_input(field_error("query", "address_too_long"), status=414)
    return parse_qsl(raw.decode("ascii", "replace"), keep_blank_values=True, errors="replace")


def _plain(pairs: Pairs) -> Pairs:
    return [pair for pair in pairs if pair[0] != "lang"]


def _to(request: Request, path: str) -> Response:
    """The same page at the address one should share."""
    language = request.query_params.get("lang")
    more = ("&" if "?" in path else "?") + urlencode({"lang": language}) if language in ("zh", "en") else ""
    return RedirectResponse(path + more, 303)


def _links(look: Look, pairs: Pairs) -> dict[str, Any]:
    """The same page in the other language."""
    other = "en" if look.language == "zh" else "zh"
    return {"language_path": f"{look.request.url.path}?{urlencode([*pairs, ('lang', other)])}"}


def _page(
    request: Request,
    look: Look,
    key: tuple[Any, ...],
    pairs: Pairs,
    template: str,
    context: Callable[[], dict[str, Any]],
) -> Response:
    """From the shelf; what the page says must follow from `key`, language and type alone."""

    def body() -> bytes:
        return bytes(look.draw(template, **_links(look, pairs), **context()).body)

    response = _kept(request, (*key, look.language, look.type), body, HTML).answer(request)
    look.remember(response)
    return response


def _kept(request: Request, key: tuple[Any, ...], body: Callable[[], bytes], media_type: str) -> Kept:
    site = site_of(request)
    kept = site.shelf.get(key)
    if kept is None:
        site.demand_patience(request)
        kept = site.shelf.put(key, body, media_type)
    return kept
