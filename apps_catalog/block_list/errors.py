"""What can be wrong with a block list."""

from __future__ import annotations

from typing import ClassVar


class BlockListError(Exception):
    """A file that is no block list, is damaged, or does not belong to the files beside it. Nothing of it is used."""

    failure: ClassVar[str] = "BLOCK_LIST_INVALID"


class OlderListError(Exception):
    """An edition below one that was already in use here: a card blocked since then would count as good again."""

    failure: ClassVar[str] = "BLOCK_LIST_OLDER"
