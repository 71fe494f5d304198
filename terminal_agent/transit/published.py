"""What the centre has published, as a gate asks for it: blocked purses and accounts, items in force, roots of codes."""

from __future__ import annotations

from datetime import date
from typing import Final

from apps_catalog import Catalog
from apps_catalog.block_list import Action, Freshness, Kind, purse_number, transit_account_number
from apps_catalog.errors import QueryError
from cardlib.transit_code_anchors import TrustAnchors
from cardlib.transit_records import PurseIdentity
from terminal_agent.catalog.blocked import UNKNOWN
from terminal_agent.catalog.desk import CatalogDesk

LINGER_S: Final = 5.0
"""A list that was replaced stays open as long as a tap may still be looking into it."""


class Published:
    """Questions may come from any thread; `refresh` belongs to the event loop."""

    def __init__(self, desk: CatalogDesk) -> None:
        self._desk = desk
        self._catalog: Catalog | None = None
        desk.linger_s = LINGER_S

    async def refresh(self) -> None:
        """After the catalog has changed."""
        self._catalog = await self._desk.catalog()

    @property
    def anchors(self) -> TrustAnchors | None:
        return self._desk.anchors

    def is_blocked(self, identity: PurseIdentity) -> bool | None:
        """None where there is no list to be trusted. A purse whose number no list can hold is not blocked by one."""
        try:
            return self._look(Kind.PURSE, purse_number(identity.issuer, identity.face_number))
        except QueryError:
            return False

    def names_purses(self) -> bool:
        """Whether the list has every blocked number, not only a filter that also hits some others."""
        return self._desk.has_exact_list

    def is_account_blocked(self, issuer: str, card_account: str) -> bool | None:
        """Of a verified code, so of the right form."""
        return self._look(Kind.TRANSIT_ACCOUNT, transit_account_number(issuer, card_account))

    def in_force(self, item_id: str, day: date) -> bool:
        catalog = self._catalog
        if catalog is None:
            return False
        try:
            return catalog.item(item_id).is_in_force(day)
        except QueryError:
            return False

    def _look(self, kind: Kind, number: str) -> bool | None:
        view = self._desk.look(kind, number, offline=True)
        if view.verdict != UNKNOWN and view.action is Action.REFUSE:
            return True
        return None if view.verdict == UNKNOWN or view.freshness is Freshness.TOO_OLD else False
