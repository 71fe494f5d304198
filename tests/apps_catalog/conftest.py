from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from apps_catalog import Catalog, load
from apps_catalog.catalog import DATA

ITEM = """\
owner = "joint"
[[item]]
id = "joint-culture-loan"
name = { zh = "借书", en = "Borrowing" }
summary = { zh = "刷卡借书", en = "Borrow with the card" }
domain = "culture"
level = "regional"
areas = ["110000", "130100"]
holders = ["local", "120000"]
carriers = ["contact", "qr"]
functions = ["identity"]
channels = ["offline"]
validation = "online"
department = { zh = "文旅部门", en = "Culture department" }
provider = { zh = "图书馆", en = "Libraries" }
eligibility = { zh = "持卡人", en = "Card holders" }
terms = { zh = "按馆方规定", en = "By the library's rules" }
standing = "stated"
sources = ["provisions-2024"]
version = 1
effective_from = 2025-01-01
effective_to = 2025-12-31
"""


@pytest.fixture(scope="session")
def shipped() -> Catalog:
    return load()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a catalog directory: the shipped head (unless replaced) and the given item files."""

    def write_files(head: str | None = None, **files: str) -> Path:
        text = (DATA / "catalog.toml").read_text(encoding="utf-8") if head is None else head
        (tmp_path / "catalog.toml").write_text(text, encoding="utf-8")
        for name, body in files.items():
            (tmp_path / f"{name}.toml").write_text(body, encoding="utf-8")
        return tmp_path

    return write_files
