"""Coding of structure and keys in the reference COS profile (CREATE FILE, WRITE KEY, DIR); real COS differ.

The drafts leave this coding to the COS maker (draft P10 §5.2); the profile is written down in `docs/card.md`.
"""

from __future__ import annotations

from cardlib.spec.model import CardSpec, DfSpec, EfSpec, KeySpec, KeyType, PinSpec, Structure
from cardlib.spec.names import MF_FID

_TYPE_ADF = 0x38
_TYPE_DDF = 0x39
_MASTER_KEY_TRIES = 3
_ALG_3DES, _ALG_DES, _ALG_SM4 = 0x00, 0x01, 0x03


def create_df(df: DfSpec, algorithm_id: int) -> bytes:
    """CREATE FILE of an environment or application; the new DF becomes current."""
    body = bytes((_TYPE_DDF if df.is_environment else _TYPE_ADF,)) + df.size.to_bytes(2, "big")
    body += bytes((0x03, 0x00, df.block_kid, _tries(_MASTER_KEY_TRIES)))
    body += bytes((df.directory.sfi if df.directory else 0x00, algorithm_id, 0x00)) + df.aid
    return _create(df.fid, body)


def create_ef(ef: EfSpec) -> bytes:
    """CREATE FILE of a data, key, directory or account file in the current DF."""
    records = 0 if ef.structure is Structure.TRANSPARENT else ef.records
    body = bytes((ef.structure,)) + ef.size.to_bytes(2, "big") + bytes((ef.record_length, records))
    body += ef.read.to_bytes() + ef.write.to_bytes() + bytes((ef.sfi, 0x00))
    return _create(ef.fid, body)


def rcp_create_commands(spec: CardSpec, *, with_optional: bool = False) -> list[tuple[str, bytes]]:
    """Labelled commands that build the whole structure, SELECTs included, without keys.

    Labels: `DDF1`, `DF01` … create a DF; `SSSE/KEY`, `DF04/EF08` … a file in it; `(MF)` and `(select SSSE)` select.
    DF05 and DF06 (informative annex) only on wish.
    """
    environment = spec.df("SSSE")
    select_environment = select_name(environment.aid)
    commands = [("(MF)", b"\x00\xa4\x00\x00\x02" + MF_FID.to_bytes(2, "big"))]
    for df in spec.dfs:
        if df.is_optional and not with_optional:
            continue
        if df.is_environment:
            commands.append((f"{df.fid:04X}", create_df(df, spec.algorithm_id)))
        else:
            commands.append(("(select SSSE)", select_environment))
            commands.append((df.name, create_df(df, spec.algorithm_id)))
        commands.extend((f"{df.name}/{ef.name}", create_ef(ef)) for ef in df.files)
    return commands


def select_name(name: bytes) -> bytes:
    """SELECT by DF name, without Le."""
    return b"\x00\xa4\x04\x00" + bytes((len(name),)) + name


def key_record_header(key: KeySpec, version: int, algorithm: str) -> bytes:
    """The eight bytes before the key value in WRITE KEY: type, id, version, algorithm, tries, flags, 00 00."""
    if not 1 <= version <= key.versions:
        raise ValueError(f"{key.name} has versions 1 to {key.versions}")
    algorithm_des = _ALG_DES if key.length_des == 8 else _ALG_3DES
    algorithm_id = _ALG_SM4 if algorithm == "SM4" else algorithm_des
    flags = 0x01 if key.is_internal_only else 0x00
    return bytes((key.type, key.kid, version, algorithm_id, _tries(key.retry), flags, 0x00, 0x00))


def pin_record_header(pin: PinSpec) -> bytes:
    """The same eight bytes before the PIN object; the value is `stored_length` bytes, BCD filled FF."""
    return bytes((KeyType.PIN, pin.kid, 0x00, 0x00, _tries(pin.tries), 0x00, 0x00, 0x00))


def directory_records(spec: CardSpec, *, with_optional: bool = False) -> list[bytes]:
    """Records of the DIR file, one `61 {4F AID, 50 label}` for each application (draft P3 §6.5.2)."""
    records = []
    for df in spec.dfs:
        if df.is_environment or (df.is_optional and not with_optional):
            continue
        entry = b"".join(
            bytes((tag, len(value))) + value for tag, value in ((0x4F, df.aid), (0x50, df.label.encode("gbk")))
        )
        records.append(bytes((0x61, len(entry))) + entry)
    return records


def _tries(most: int) -> int:
    """Maximum and remaining tries in one byte; 00 = no counter."""
    return most << 4 | most


def _create(fid: int, body: bytes) -> bytes:
    return b"\x80\xe0" + fid.to_bytes(2, "big") + bytes((len(body),)) + body
