"""`onecard hsm backup` and `restore`: the sealed store with its officers and its log, in one file.

The store in a backup is sealed as it lies; the backup opens with the passphrase of the day it was made. All of it is
opened and compared beside the present store before anything is replaced, and what is replaced stays as `.previous-…`.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from cardlib.failures import FailureCode, failure_of
from hsm.act_log import LOG_KEY, ActLog, ActLogError, Result, own_key
from hsm.api import HsmError, KeyStoreCorruptError, KeyStoreLockedError
from hsm.primitives import default_engine
from hsm.sealed_store import exclusive, write_atomically
from hsm.service import StoreKeyService
from onecard_cli.desk import ask_pin
from onecard_cli.home import Home
from onecard_cli.key_office import KeyOffice, OfficerOption, tell
from onecard_cli.output import CommandError, reports_failures

FORMAT: Final = "onecard-key-backup-1"
MAX_SIZE: Final = 64 << 20
_ACT, _MAC = "restore", b"backup\0"


class BackupInvalidError(KeyStoreCorruptError):
    """The backup is damaged, cut off or no backup."""


class BackupOlderError(HsmError):
    """The present store holds what the backup does not know; restoring would lose it or bring it back."""

    failure: ClassVar[str] = "CONFLICT"


@reports_failures
def backup(
    file: Annotated[Path, typer.Argument(help="备份文件 / the file to write", dir_okay=False)],
    force: Annotated[bool, typer.Option("--force", help="替换已有的文件 / replace a file that exists")] = False,
) -> None:
    """备份密钥库，连同管理员和记录 / back up the store with its officers and its log, sealed as it is.

    \b
    Example: ./onecard hsm backup keys-2026-11-19.backup
    """
    if file.exists() and not force:
        raise CommandError(FailureCode.CONFLICT, f"{file} exists and is not overwritten without --force")
    with KeyOffice.open() as office:
        with office.act("backup"):
            pass  # first, so that the backup holds its own entry, and the key it is proved by
        content = pack(office)
    write_atomically(file.resolve(), content)
    unpack(file.read_bytes())
    print(f"✓ {file} · {_digest(content)}")


@reports_failures
def restore(
    file: Annotated[Path, typer.Argument(help="备份文件 / the backup", exists=True, dir_okay=False)],
    accept_older: Annotated[
        bool, typer.Option("--accept-older", help="比现有的旧也恢复 / even when the present store knows more")
    ] = False,
    officer: OfficerOption = None,
) -> None:
    """核对备份后恢复密钥库，现有的改名保留 / verify a backup and put it in place; the present store is kept.

    Two officers approve: the present store's, or where it is damaged or gone those of the backup. A backup made
    before the passphrase was changed asks for the old one (or ONECARD_BACKUP_PASSPHRASE).

    \b
    Example: ./onecard hsm restore keys-2026-11-19.backup --officer 甲 --officer 乙
    """
    home, content = Home.default(), file.read_bytes()
    with ExitStack() as stack:
        made = stack.enter_context(_unpacked(home, content))
        service, passphrase = _opened(home, made)
        stack.enter_context(service)
        found = KeyOffice(made, service)
        _prove(found, content)
        present = _present(home, stack)
        keeps_log = _continues(home, found)
        log = ActLog(service, home.key_store) if keeps_log else (present or found).log
        who = _approved(log, officer or (), present, found, content, accept_older=accept_older)
        service.close()
        _put_in_place(home, made, passphrase, keeps_log=keeps_log)
    with home.open_store(home.key_store, passphrase) as service:
        tell(ActLog(service, home.key_store).append(who, _ACT, Result.DONE, detail=_digest(content)))
        print(f"✓ {len(service.keys())} 个密钥已恢复 / keys restored")


def pack(office: KeyOffice) -> bytes:
    """The files as they lie, under a MAC of the log's key, so that parts of two backups do not mix."""
    with exclusive(office.home.key_store):
        files = {path.name: base64.b64encode(path.read_bytes()).decode("ascii") for path in _files(office.home)}
    body = json.dumps({"format": FORMAT, "files": files}, sort_keys=True).encode("utf-8")
    return _mac(office.service, body) + b" " + default_engine().sm3(body).hex().encode("ascii") + b"\n" + body


def unpack(content: bytes) -> dict[str, bytes]:
    """Names and content of the files. Raises BackupInvalidError."""
    line, _, body = content.partition(b"\n")
    if len(content) > MAX_SIZE or not hmac.compare_digest(line[-64:], default_engine().sm3(body).hex().encode("ascii")):
        raise BackupInvalidError("the backup is damaged or cut off")
    try:
        document = json.loads(body)
        if document["format"] != FORMAT:
            raise BackupInvalidError("not a backup of this version")
        files = {str(name): base64.b64decode(text, validate=True) for name, text in document["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BackupInvalidError("not a backup") from None
    known = {path.name for path in _names(Home(Path()))}
    if not {Home(Path()).key_store.name} <= files.keys() <= known:
        raise BackupInvalidError("the backup holds other files than a key store's")
    return files


@contextmanager
def _unpacked(home: Home, content: bytes) -> Iterator[Home]:
    folder = home.path / ".restoring"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        made = Home.at(folder)
        for name, data in unpack(content).items():
            write_atomically(folder / name, data)
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _opened(home: Home, made: Home) -> tuple[StoreKeyService, str]:
    given = os.environ.get("ONECARD_BACKUP_PASSPHRASE")
    passphrase = given or home.passphrase()
    try:
        return home.open_store(made.key_store, passphrase), passphrase
    except KeyStoreLockedError:
        if given:
            raise
        passphrase = ask_pin("备份当时的口令 / passphrase of the backup's day")
        return home.open_store(made.key_store, passphrase), passphrase


def _prove(found: KeyOffice, content: bytes) -> None:
    """Store, officers, log and the whole belong together."""
    line, _, body = content.partition(b"\n")
    if own_key(found.service, LOG_KEY) is None or not hmac.compare_digest(line[:64], _mac(found.service, body)):
        raise BackupInvalidError("the backup was put together from parts")
    found.officers.names()
    found.log.entries()


def _present(home: Home, stack: ExitStack) -> KeyOffice | None:
    """None where the store is gone or damaged. One that is whole has to be opened, or it has no say."""
    try:
        office = KeyOffice(home, stack.enter_context(home.open_store(home.key_store, home.passphrase())))
        office.officers.names()
    except KeyStoreCorruptError:
        return None
    return office


def _approved(
    log: ActLog,
    names: Sequence[str],
    present: KeyOffice | None,
    found: KeyOffice,
    content: bytes,
    *,
    accept_older: bool,
) -> tuple[str, ...]:
    """A broken log stops nothing here: a backup may be what it takes, and the log stays among the previous files."""
    who: tuple[str, ...] = tuple(names)
    try:
        who = (present or found).approve(names)
        if present is not None and not accept_older:
            _check_not_older(present.service, found.service)
    except Exception as error:
        with suppress(ActLogError):
            log.append(who, _ACT, Result.REFUSED, detail=f"{failure_of(error)}: {error}")
        raise
    with suppress(ActLogError):
        log.append(who, _ACT, Result.BEGUN, detail=_digest(content))
    return who


def _check_not_older(present: StoreKeyService, found: StoreKeyService) -> None:
    """By the keys themselves: a clock or a count may be wrong."""
    differing = sorted({name for name, _, _ in _facts(present) ^ _facts(found)})
    if differing:
        shown = ", ".join(differing[:3]) + (" …" if len(differing) > 3 else "")
        raise BackupOlderError(f"{len(differing)} keys were made, changed or destroyed since: {shown}; --accept-older")


def _facts(service: StoreKeyService) -> set[tuple[str, str, str]]:
    known = service.keys()
    return {(str(i.ref), i.kcv.hex(), i.state.value) for i in known if i.ref.name != LOG_KEY}


def _continues(home: Home, found: KeyOffice) -> bool:
    """Whether the present log is the backup's own with more behind it; then nothing of it goes."""
    try:
        return len(ActLog(found.service, home.key_store).entries()) >= len(found.log.entries())
    except ActLogError:
        return False


def _put_in_place(home: Home, made: Home, passphrase: str, *, keeps_log: bool) -> None:
    """The store last: until then the present one is what everybody opens. Every replaced file has a second name."""
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    kept = set(_log_files(home)) if keeps_log else set()
    changes_passphrase = home.passphrase() != passphrase
    if changes_passphrase:
        home.expect_passphrase(passphrase)
    with exclusive(home.key_store):
        for path in reversed(_names(home)):
            if path in kept:
                continue
            if path.exists():
                path.with_name(f"{path.name}.previous-{at}").hardlink_to(path)
            staged = made.path / path.name
            if staged.exists():
                staged.replace(path)
            else:
                path.unlink(missing_ok=True)
    if changes_passphrase:
        home.take_passphrase()
        print("! 密钥库的口令是备份当时的 / the store has the passphrase of the backup's day", file=sys.stderr)


def _names(home: Home) -> list[Path]:
    """Files of a backup, the store first."""
    store = home.key_store
    return [store, store.with_name(store.name + ".officers"), *_log_files(home)]


def _log_files(home: Home) -> list[Path]:
    return [home.key_store.with_name(home.key_store.name + end) for end in (".acts", ".acts.head")]


def _files(home: Home) -> list[Path]:
    return [path for path in _names(home) if path.exists()]


def _mac(service: StoreKeyService, body: bytes) -> bytes:
    key = own_key(service, LOG_KEY)
    if key is None:
        raise KeyStoreCorruptError("the store has no log")
    return service.index(key, _MAC + body).hex().encode("ascii")


def _digest(content: bytes) -> str:
    return default_engine().sm3(content).hex()[:16].upper()
