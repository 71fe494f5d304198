"""Which web pages may call: by the terminal's own settings, and beside them by the signed configuration."""

from __future__ import annotations

from collections.abc import Iterable

from terminal_agent.settings import checked_origin


class Origins:
    """`allowed` may call at once, `pairing` after a person's yes. A page that its own terminal wants paired is not
    freed of that from afar."""

    def __init__(self, allowed: Iterable[str] = (), pairing: Iterable[str] = ()) -> None:
        self._allowed, self._pairing = frozenset(allowed), frozenset(pairing)
        self._signed_allowed: frozenset[str] = frozenset()
        self._signed_pairing: frozenset[str] = frozenset()

    def configure(self, *, allowed: Iterable[str] = (), pairing: Iterable[str] = ()) -> None:
        """What the signed configuration grants from now on, instead of before. Raises ValueError."""
        lists = [frozenset(checked_origin(origin) for origin in given) for given in (allowed, pairing)]
        self._signed_allowed, self._signed_pairing = lists

    def is_allowed(self, origin: str) -> bool:
        return origin in self._allowed or (origin in self._signed_allowed and origin not in self._pairing)

    def needs_pairing(self, origin: str) -> bool:
        return not self.is_allowed(origin) and (origin in self._pairing or origin in self._signed_pairing)
