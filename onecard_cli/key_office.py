"""The key store with its officers and its log, as the commands of `onecard hsm` use it."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated

import typer

from cardlib.failures import failure_of
from hsm.act_log import ActLog, Head, Result
from hsm.api import Algorithm, KeyRef
from hsm.officers import Officers, officer_name
from hsm.service import StoreKeyService
from onecard_cli.desk import ask_pin
from onecard_cli.home import Home

OfficerOption = Annotated[
    list[str] | None,
    typer.Option("--officer", help="管理员，两名 / officer who approves, twice; the passphrase is asked"),
]


@dataclass(slots=True)
class Record:
    """What the log is to say of an act that succeeded."""

    kcv: str = ""
    detail: str = ""


class KeyOffice:
    """Every act goes through `act`: approved where the store has officers, and in the log whatever becomes of it."""

    def __init__(self, home: Home, service: StoreKeyService) -> None:
        self.home = home
        self.service = service
        self.officers = Officers(service, home.key_store)
        self.log = ActLog(service, home.key_store)

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[KeyOffice]:
        home = Home.default()
        with home.key_service() as service:
            yield cls(home, service)

    @contextmanager
    def act(self, act: str, key: KeyRef | str = "", *, approved_by: Sequence[str] | None = None) -> Iterator[Record]:
        """`approved_by` names the two officers of an act that needs them; None for one that does not."""
        record = Record()
        who: tuple[str, ...] = (user(),)
        try:
            if approved_by is not None:
                who = tuple(approved_by) or who
                who = self.approve(approved_by)
            self.log.append(who, act, Result.BEGUN, key=str(key))
            yield record
        except Exception as error:
            detail = f"{failure_of(error)}: {error}"
            with suppress(Exception):  # a broken log is told by the error itself
                self.log.append(who, act, Result.REFUSED, key=str(key), detail=detail)
            raise
        head = self.log.append(who, act, Result.DONE, key=str(key), kcv=record.kcv, detail=record.detail)
        tell(head)

    def approve(self, names: Sequence[str]) -> tuple[str, ...]:
        """The two officers, their passphrases asked; the system's user where the store has no officers."""
        if not self.officers.exist:
            return (user(),)
        names = list(names) or ask_names()
        return self.officers.approve([(name, officer_passphrase(n, name)) for n, name in enumerate(names, 1)])


def tell(head: Head) -> None:
    """For the paper record; on the error stream, so that JSON stays JSON."""
    print(f"  记录 / log No. {head.count} · {head.digest[:8].upper()}", file=sys.stderr)


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user on this system, as in some containers
        return str(os.getuid())


def ask_names() -> list[str]:
    """Two officers' names from the terminal; none where nobody can be asked."""
    if not sys.stdin.isatty():
        return []
    return [officer_name(typer.prompt(f"管理员 {n} / officer {n}", err=True)) for n in (1, 2)]


def officer_passphrase(number: int, name: str, *, is_new: bool = False) -> str:
    """ONECARD_OFFICER_1_PASSPHRASE and so on, in the order of the names; else asked without echo."""
    if given := os.environ.get(f"ONECARD_OFFICER_{number}_PASSPHRASE"):
        return given
    return ask_pin(f"{name} 的口令 / passphrase of {name}", twice=is_new)


def key_ref(text: str) -> KeyRef:
    """`NAME/ALGORITHM/vN`, with `@REGION` behind it for a region's. Raises ValueError."""
    name, _, rest = text.strip().partition("/")
    algorithm, _, rest = rest.partition("/v")
    version, _, region = rest.partition("@")
    try:
        ref = KeyRef(name, Algorithm(algorithm), int(version), region)
    except ValueError:
        ref = None
    if ref is None or str(ref) != text.strip():
        raise ValueError("a key is named as in `onecard hsm status`: IRK/SM4/v1, IRK/SM4/v1@990100")
    return ref
