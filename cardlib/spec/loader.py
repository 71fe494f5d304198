"""Reads `data/*.toml` into the dataclasses of `cardlib.spec.model` and applies the overlay of a generation."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from cardlib.spec.model import (
    Access,
    AccessKind,
    CardSpec,
    CodeList,
    CodePart,
    DfSpec,
    EfSpec,
    FileClass,
    Format,
    Generation,
    ItemSpec,
    ItemType,
    KeySpec,
    KeyType,
    PsamKey,
    Structure,
)

_DATA = Path(__file__).with_name("data")
_DF_NAMES = ("SSSE", "DF01", "DF02", "DF03", "DF04", "DF05", "DF06", "DF07")
_ORDER = tuple(Generation)

_Table = dict[str, Any]


class SpecError(Exception):
    """The specification tables contradict themselves: a defect of the installation, never of a card."""

    failure: ClassVar[str] = "INTERNAL"


def load(generation: Generation | str) -> CardSpec:
    """The specification of one generation. The same immutable object on every call."""
    return _load(Generation(generation))


@cache
def _load(generation: Generation) -> CardSpec:
    overlay = _read(f"generation_{generation.replace('.', '_')}")
    keys = [key for name in _DF_NAMES for key in _keys(_read(name.lower()), name, generation)]
    kids = {key.name: key.kid for key in keys}
    dfs = tuple(_df(_read(name.lower()), overlay, kids, generation) for name in _DF_NAMES if name in overlay["dfs"])
    keys = [key for key in keys if key.df in overlay["dfs"]] + _master_keys(dfs)
    rewritten = overlay.get("rewritten", {})
    return CardSpec(
        generation=generation,
        algorithm=overlay["algorithm"],
        version_text=overlay["version_text"],
        dfs=dfs,
        keys=tuple(keys),
        rewritten=_tags(rewritten.get("length", {})),
        follows=_tags({tag: int(lead, 16) for tag, lead in rewritten.get("follows", {}).items()}),
    )


@cache
def code_lists() -> Mapping[str, CodeList]:
    """All code lists by name."""
    lists: dict[str, CodeList] = {}
    for name, table in _read("codes").items():
        parts = tuple(
            CodePart(part["start"], part["length"], part["zh"], part["en"], *_texts(part))
            for part in table.get("parts", [])
        )
        base = lists[table["extends"]] if "extends" in table else None
        lists[name] = CodeList(name, table["zh"], table["en"], *_texts(table, base), parts)
    return MappingProxyType(lists)


def _texts(table: Mapping[str, Any], base: CodeList | None = None) -> tuple[Mapping[str, str], Mapping[str, str]]:
    chinese, english = table.get("codes", {}), table.get("codes_en", {})
    if base is not None:
        chinese, english = {**base.codes, **chinese}, {**base.en, **english}
    return MappingProxyType(chinese), MappingProxyType(english)


def code_list(name: str) -> CodeList:
    """Raises KeyError."""
    return code_lists()[name]


@cache
def _read(name: str) -> _Table:
    with (_DATA / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)


def _tags(table: Mapping[str, int]) -> Mapping[int, int]:
    return MappingProxyType({int(tag, 16): value for tag, value in table.items()})


def _df(table: _Table, overlay: _Table, kids: Mapping[str, int], generation: Generation) -> DfSpec:
    df = table["df"]
    name = df["name"]
    allowed = overlay.get("files", {}).get(name)
    patches = overlay.get("ef", {})
    efs = tuple(
        _ef(name, ef | patches.get(name + ef["name"], {}), kids, generation)
        for ef in table["ef"]
        if allowed is None or ef["name"] in allowed
    )
    never, free = Access(AccessKind.NEVER), Access(AccessKind.FREE)
    environment_master, own_master = Access(AccessKind.KEY, "MK_SSSE", 0x00), Access(AccessKind.KEY, f"MK_{name}", 0x80)
    is_environment = name == "SSSE"
    key_file = _system_file(
        name, table["key_file"], Structure.KEY_FILE, never, environment_master if is_environment else own_master
    )
    directory = account = None
    if "directory" in table:
        directory = _system_file(name, table["directory"], Structure.LINEAR_VARIABLE, free, environment_master)
    if "account" in table:
        account = _system_file(name, table["account"], Structure.ACCOUNT, never, never)
    return DfSpec(
        name=name,
        fid=df["fid"],
        aid=bytes.fromhex(df["aid"]),
        label=df["label"],
        name_en=df["en"],
        size=df["size"],
        block_kid=df["block_kid"],
        is_optional=df.get("optional", False),
        efs=efs,
        key_file=key_file,
        directory=directory,
        account=account,
    )


def _system_file(df: str, table: _Table, structure: Structure, read: Access, write: Access) -> EfSpec:
    return EfSpec(
        df=df,
        name=table["name"],
        fid=table["fid"],
        sfi=table.get("sfi", 0),
        name_zh=table["zh"],
        name_en=table["en"],
        structure=structure,
        size=table["size"],
        record_length=0,
        records=table["records"],
        read=read,
        write=write,
        items=tuple(_item(item) for item in table.get("items", [])),
        klass=FileClass.SYSTEM,
    )


def _ef(df: str, table: _Table, kids: Mapping[str, int], generation: Generation) -> EfSpec:
    structure = Structure[table["structure"].upper()]
    items = tuple(item for item in map(_item, table["items"]) if _ORDER.index(item.since) <= _ORDER.index(generation))
    record_length, records, size = _geometry(structure, table, items)
    number = int(table["name"].removeprefix("EF"), 16)
    return EfSpec(
        df=df,
        name=table["name"],
        fid=0xEF00 | number,
        sfi=number,
        name_zh=table["zh"],
        name_en=table["en"],
        structure=structure,
        size=size,
        record_length=record_length,
        records=records,
        read=_access(table["read"], df, kids),
        write=_access(table["write"], df, kids),
        items=items,
        klass=FileClass(table["class"]),
    )


def _geometry(structure: Structure, table: _Table, items: tuple[ItemSpec, ...]) -> tuple[int, int, int]:
    """Record length, number of records, size. A linear record is tag, length, value (draft P3 §5.3.1)."""
    if structure is Structure.TRANSPARENT:
        return 0, 0, sum(item.length for item in items)
    if structure is Structure.CYCLIC:
        length = sum(item.length for item in items)
        return length, table["records"], length * table["records"]
    size = sum((2 + item.length) * item.count for item in items)
    records = sum(item.count for item in items)
    if structure is Structure.LINEAR_FIXED:
        lengths = {2 + item.length for item in items}
        return max(lengths), records, max(lengths) * records
    return 0, records, size


def _item(table: _Table) -> ItemSpec:
    kind = ItemType(table["type"])
    inner = tuple(_item(inner) for inner in table.get("inner", []))
    length = table["len"]
    if kind is ItemType.BTLV and length != sum(2 + item.length for item in inner):
        raise SpecError(f"{table['slug']}: inner items do not add up to {length} bytes")
    code_list_name = table.get("codes")
    if code_list_name is not None and code_list_name not in code_lists():
        raise SpecError(f"{table['slug']}: no code list {code_list_name}")
    return ItemSpec(
        tag=int(table["tag"], 16) if "tag" in table else None,
        slug=table["slug"],
        name_zh=table["zh"],
        name_en=table["en"],
        type=kind,
        length=length,
        format=Format(table.get("format", "plain")),
        code_list=code_list_name,
        inner=inner,
        count=table.get("count", 1),
        is_gbk=table.get("gbk", False),
        since=Generation(table.get("since", "1.0")),
    )


_ACCESS_WORDS = {"free": AccessKind.FREE, "never": AccessKind.NEVER, "PIN": AccessKind.PIN}


def _access(rule: str, df: str, kids: Mapping[str, int]) -> Access:
    """`free`, `never`, `PIN`, `KEY`, `PIN | KEY`, `PIN & KEY`; a key may be named without the DF of its file."""
    if rule in _ACCESS_WORDS:
        return Access(_ACCESS_WORDS[rule])
    head, operator, tail = rule.partition(" | ") if " | " in rule else rule.partition(" & ")
    key = tail or head
    kind = {"": AccessKind.KEY, " | ": AccessKind.PIN_OR_KEY, " & ": AccessKind.PIN_AND_KEY}[operator]
    if operator and head != "PIN":
        raise SpecError(f"{df}: access rule {rule!r}")
    name = key if key in kids else key + df
    if name not in kids:
        raise SpecError(f"{df}: no key {key}")
    return Access(kind, name, kids[name])


def _keys(table: _Table, df: str, generation: Generation) -> list[KeySpec]:
    keys = []
    for key in table["keys"]:
        since = Generation(key.get("since", "1.0"))
        if _ORDER.index(since) > _ORDER.index(generation):
            continue
        usage, _, psam_id = key.get("psam", "").partition("/")
        keys.append(
            KeySpec(
                name=key["name"],
                df=df,
                kid=key["kid"],
                type=KeyType[key["type"].upper()],
                root_level=key["level"],
                retry=key.get("retry", 0),
                versions=key.get("versions", 1),
                length_des=key.get("length_des", 16),
                is_internal_only=key.get("internal", False),
                psam=PsamKey(int(usage, 16), int(psam_id, 16)) if usage else None,
                since=since,
            )
        )
    return keys


def _master_keys(dfs: tuple[DfSpec, ...]) -> list[KeySpec]:
    """Master keys exist once per DF, final and temporary, and one transport key per chip (draft P10 §5.1, §5.2).

    The final ones are the issuer's root diversified with the card factor only; the others are fixed values.
    """
    keys = [KeySpec("TK", "", 0x00, KeyType.MASTER, root_level=0, retry=3)]
    for df in dfs:
        for prefix, level in (("TMK_", 0), ("MK_", 3)):
            keys.append(KeySpec(prefix + df.name, df.name, df.master_kid, KeyType.MASTER, root_level=level, retry=3))
    return keys
