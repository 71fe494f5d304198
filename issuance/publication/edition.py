"""One edition of the block list, built from the rows of the centre beside what was published last.

Ten million cards take half a minute of a processor and 180 MiB. A large build therefore runs in a process of its own,
which gives the memory back and leaves this one to its requests; a small one is done where it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from apps_catalog.block_list import BlockList, BlockListError, build, build_delta
from cardlib.failures import FailureCode, failure_of
from issuance.publication.blocked import BlockedCards, reading
from issuance.rules import load_rules

LARGE: Final = 100_000
"""Cards; from here on a process of its own, whose start takes a second of a processor, is the lesser cost."""
_LOOK_S: Final = 0.2
_NICE: Final = 10


class BuildError(Exception):
    """What went wrong in the process that built, as the failure it is; INTERNAL where the process itself ended."""

    def __init__(self, failure: str, text: str) -> None:
        super().__init__(text)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Order:
    """All that a build needs in another process. `folder` holds the files published last, as links that may be
    replaced; the new ones are made in it. `as_of`: Unix second; `transit_issuer` as in `BlockedCards`."""

    database_url: str
    rules_path: Path | None
    today: date
    folder: Path
    as_of: int
    is_full: bool
    transit_issuer: str = ""

    def cards(self) -> AbstractContextManager[BlockedCards]:
        return reading(self.database_url, load_rules(self.rules_path), self.today, self.transit_issuer)


@dataclass(frozen=True, slots=True)
class Edition:
    number: int
    entries: int
    is_full: bool


def make_edition(order: Order, is_stopped: Callable[[], bool]) -> Edition:
    """Raises BlockListError, BuildError of another process, and what the database raises."""
    with order.cards() as cards:
        is_large = cards.are_more_than(LARGE)
    return _elsewhere(order, is_stopped) if is_large else _build(order)


def _build(order: Order) -> Edition:
    """A delta, or a full edition where one is due or no delta can be made; what cannot be read is never published."""
    is_full = order.is_full
    with order.cards() as cards:
        if not is_full:
            try:
                build_delta(order.folder, cards, as_of=order.as_of)
            except BlockListError:  # too much changed, or what was published is damaged
                is_full = True
        if is_full:
            build(order.folder, cards, as_of=order.as_of)
    with BlockList(order.folder) as made:
        return Edition(made.edition, len(made), is_full)


def _elsewhere(order: Order, is_stopped: Callable[[], bool]) -> Edition:
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(theirs, order), daemon=True)
    process.start()
    theirs.close()
    try:
        while not ours.poll(_LOOK_S):
            if is_stopped():
                raise BuildError(FailureCode.INTERNAL, "the service is stopping")
        told: Edition | tuple[str, str] = ours.recv()
    except EOFError:
        raise BuildError(FailureCode.INTERNAL, "the process ended") from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(told, Edition):
        return told
    raise BuildError(*told)


def _tell(connection: Connection, order: Order) -> None:
    with suppress(OSError):
        os.nice(_NICE)
    try:
        connection.send(_build(order))
    except Exception as error:  # not every exception can travel, and its words may quote a row
        connection.send((str(failure_of(error)), type(error).__name__))
