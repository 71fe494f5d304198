"""The process ends, without a chance to clean up, before each change it makes to the disk."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from apps_catalog.distribution.client import fetch, verify
from apps_catalog.distribution.held import held
from apps_catalog.distribution.repository import Repository
from apps_catalog.distribution.roles import ROLES, Roles
from hsm.soft import SoftKeyService
from tests.apps_catalog.distribution.conftest import Publisher

KILLED, DONE = 9, 0
CHANGES = {"os.rename", "os.link", "os.mkdir", "os.remove", "os.symlink", "os.truncate", "os.rmdir", "os.chmod"}
_SMALL = Roles(ROLES.top, {"blocklist": ROLES.delegated["blocklist"]})


def _ends_before(change: int, url: str, into: Path) -> int:
    """Exit status of a process that fetches and is killed before its `change`-th change."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = change

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in CHANGES:
            left -= 1
            if left < 0:
                os._exit(KILLED)

    sys.addaudithook(hook)
    try:
        fetch(url, into)
        os._exit(DONE)
    finally:
        os._exit(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_old_or_new_after_every_kill(signing_keys: SoftKeyService, tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "repo", signing_keys)
    repository = Repository(publisher.path, publisher.signers, roles=_SMALL)
    root = repository.create()
    repository.publish("blocklist", {"full-1.bin": b"first"})
    repository.refresh()
    url, start = publisher.path.as_uri(), tmp_path / "start"
    fetch(url, start, root=root)
    repository.publish("blocklist", {"full-1.bin": b"first", "delta-2.bin": b"second"})
    repository.refresh()
    into, change, status, seen = tmp_path / "terminal", 0, KILLED, set()
    while status == KILLED:
        shutil.copytree(start, into, symlinks=True)
        status = _ends_before(change, url, into)
        assert status in (KILLED, DONE)
        assert verify(into) == held(into)
        seen.add(held(into).number)
        fetch(url, into)
        assert len(list(verify(into).files.rglob("*.bin"))) == 2
        assert [path.name for path in (into / "sets").iterdir()] == [held(into).folder.name]
        shutil.rmtree(into)
        change += 1
    assert change > 20
    assert seen == {2, 3}
