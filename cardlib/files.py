"""Reading and writing every kind of file by name: linear, fixed, cyclic, transparent, the directory.

Draft P3 §5.3, P5 §6.9-6.12. An item is addressed by its slug; `degree:2` is the second record that carries the tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apdu.command import CommandApdu
from apdu.errors import DecodingError, StatusWordError
from apdu.simple_tlv import SimpleTlv, parse_records
from apdu.sw import SW, check
from apdu.tlv import parse
from cardlib import commands as c
from cardlib.codec import (
    CodecError,
    decode_cyclic,
    decode_value,
    encode_cyclic,
    encode_record,
    encode_value,
    join_name,
    rewritten_record,
    rewritten_value,
    split_name,
)
from cardlib.errors import CardDataError, LastTryError
from cardlib.identity import IdentificationCode, validate_card_number, validate_social_security_number
from cardlib.psam import PsamError
from cardlib.spec import EfSpec, Generation, ItemSpec, Structure, load
from cardlib.texts import texts_of
from hsm.api import CardAuthenticator, MessageKeys

if TYPE_CHECKING:
    from cardlib.session import SocialSecurityCard

MAX_RESPONSE = 256
MAX_DATA = 251
"""Bytes of one UPDATE BINARY, with room for a MAC."""
MAX_RECORDS = 254
"""Record numbers end at FE (draft P3 §5.3)."""

LINEAR = (Structure.LINEAR_VARIABLE, Structure.LINEAR_FIXED)


@dataclass(frozen=True, slots=True)
class CardContent:
    """What could be read: values by file and slug, the texts of coded values in parallel, and why a file is missing.

    `raw` are the records of each file in hex, a transparent file's content as the only one; also of a file whose
    content is not understood. `refused` names the failure of each file left out; applications that the card does not
    have are not among them.
    """

    files: dict[str, Any]
    texts: dict[str, Any]
    refused: dict[str, str]
    raw: dict[str, list[str]]


NUMBERS: Mapping[str, Callable[[str], str]] = {
    "card_number": validate_card_number,
    "social_security_number": validate_social_security_number,
}


class CardFiles:
    """The files of one session's card. Values are those of `cardlib.codec`."""

    def __init__(self, card: SocialSecurityCard) -> None:
        self._card = card

    # -- whole files --------------------------------------------------------------------------------------------

    def read(self, ef: EfSpec, authenticator: CardAuthenticator | None = None) -> Any:
        """A linear file by slug, repeated items as lists, the name whole; a cyclic file as a list, newest first; a
        transparent one as hex by slug, without the 00 at its end; the directory as a list.

        Raises as `SocialSecurityCard.authenticate`, and CardDataError.
        """
        return self._decoded(ef, self._raw(ef, authenticator))

    def _raw(self, ef: EfSpec, authenticator: CardAuthenticator | None) -> list[bytes]:
        """The records of a file; of a transparent one its content."""
        if ef.structure is Structure.CYCLIC:
            return self._numbered(ef, ef.record_length, authenticator)
        if ef.structure is Structure.TRANSPARENT:
            return [self.read_transparent(ef, authenticator)]
        if ef.name == "DIR":
            return self._numbered(ef, MAX_RESPONSE, authenticator)
        if ef.structure in LINEAR:
            return list(self.read_runs(ef, authenticator))
        raise CodecError(f"{ef.path} is not for reading")

    def _decoded(self, ef: EfSpec, raw: list[bytes]) -> Any:
        if ef.structure is Structure.CYCLIC:
            return [_decode_cyclic(ef, record) for record in raw]
        if ef.structure is Structure.TRANSPARENT:
            return {ef.items[0].slug: raw[0].rstrip(b"\x00").hex().upper()}
        if ef.name == "DIR":
            return [_directory_entry(record) for record in raw]
        return self._by_slug(ef, [record for run in raw for record in parse_all(run)])

    def read_all(self, authenticator: CardAuthenticator | None = None) -> CardContent:
        """Every file that may be read with what is at hand, and was read without a failure."""
        content = CardContent({}, {}, {}, {})
        for df in self._card.known_spec().dfs:
            for ef in (*((df.directory,) if df.directory else ()), *df.efs):
                try:
                    raw = self._raw(ef, authenticator)
                    content.raw[ef.path] = [record.hex().upper() for record in raw]
                    values = self._decoded(ef, raw)
                except (StatusWordError, PsamError, LastTryError, CardDataError) as error:
                    if not (df.is_optional and error.failure == "FILE_NOT_FOUND"):
                        content.refused[ef.path] = error.failure
                    continue
                content.files[ef.path] = values
                if texts := texts_of(ef, values):
                    content.texts[ef.path] = texts
        return content

    def read_runs(self, ef: EfSpec, authenticator: CardAuthenticator | None) -> Iterator[bytes]:
        """Whole records of a linear file, all at once where one short response can carry them (OPEN F14)."""
        self._card.prepare(ef, ef.read, authenticator)
        if ef.size <= MAX_RESPONSE:
            yield self._card.send(c.read_records_from(ef.sfi, 1, ef.size)).data
            return
        lengths = [item.length + 2 for item in ef.items for _ in range(item.count)]
        for number, length in enumerate(lengths, start=1):
            answer = self._card.exchange(c.read_record(ef.sfi, number, length))
            if answer.sw == SW.RECORD_NOT_FOUND:
                return
            yield check(answer, 0xB2).data

    def read_records(self, ef: EfSpec, authenticator: CardAuthenticator | None = None) -> list[SimpleTlv]:
        """The records of a linear file in their order; the first is number 1."""
        return [record for raw in self.read_runs(ef, authenticator) for record in parse_all(raw)]

    def read_transparent(self, ef: EfSpec, authenticator: CardAuthenticator | None = None) -> bytes:
        """All bytes, in chunks; a file shorter than specified ends early."""
        self._card.prepare(ef, ef.read, authenticator)
        raw = b""
        while len(raw) < ef.size:
            wanted = min(MAX_RESPONSE, ef.size - len(raw))
            answer = self._card.exchange(c.read_binary(ef.sfi, len(raw), wanted))
            if answer.sw == SW.WRONG_OFFSET and raw:
                break
            part = check(answer, 0xB0).data
            if not part:
                raise CardDataError(f"{ef.path} gave no bytes at {len(raw)}")
            raw += part
        return raw

    def _numbered(self, ef: EfSpec, length: int, authenticator: CardAuthenticator | None) -> list[bytes]:
        """Records 1, 2 … until the card has no more; a card may hold more than the specification asks for."""
        self._card.prepare(ef, ef.read, authenticator)
        records: list[bytes] = []
        while len(records) < MAX_RECORDS:
            answer = self._card.exchange(c.read_record(ef.sfi, len(records) + 1, length))
            if answer.sw == SW.RECORD_NOT_FOUND:
                break
            records.append(check(answer, 0xB2).data)
        return records

    def _by_slug(self, ef: EfSpec, records: list[SimpleTlv]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        stored = {record.tag: record.value for record in reversed(records)}
        extension = _extension(ef)
        for record in records:
            if extension is not None and record.tag == extension.tag:
                continue
            try:
                item, raw = rewritten_value(
                    self._card.known_spec(), ef.path, record.tag, stored | {record.tag: record.value}
                )
            except KeyError:
                raise CardDataError(f"{ef.path} holds the unknown tag {record.tag:02X}") from None
            if item.slug == "name" and extension is not None:
                value: Any = name_of(raw, stored.get(tag_of(extension), b""))
            else:
                value = decode_item(item, raw)
            if item.count > 1:
                found.setdefault(item.slug, []).append(value)
            else:
                found[item.slug] = value
        return found

    # -- single items -------------------------------------------------------------------------------------------

    def read_item(self, name: str, authenticator: CardAuthenticator | None = None) -> Any:
        """One item by `slug` or `slug:instance`; `name` comes with its extension. Raises KeyError when unknown."""
        slug, instance = split_instance(name)
        ef, item, is_rewritten = self._find(slug)
        if ef.structure is Structure.TRANSPARENT:
            return self.read(ef, authenticator)[slug]
        if item.count > 1:
            record = self._record(ef, item, instance, authenticator)[1]
            return decode_item(item, record.value)
        if is_rewritten or self._card.known_spec().rewritten:
            return self.read(ef, authenticator)[slug]
        value = self._read_by_tag(ef, item, authenticator)
        if slug == "name" and (extension := _extension(ef)) is not None:
            return name_of(value, self._read_by_tag(ef, extension, authenticator))
        return decode_item(item, value)

    def write_item(self, name: str, value: Any, keys: CardAuthenticator) -> None:
        """Replace one item by `slug` or `slug:instance`; the rest of the record is filled (V2.0 §7).

        `name` is split over its extension. On a 1.0 card an item with a 2.0 meaning goes into the old field, filled
        with E (V2.0 App. C). Numbers must have their check digits. Raises CodecError or IdentityError before anything
        is sent, StatusWordError, LastKeyTryError.
        """
        slug, instance = split_instance(name)
        ef, item, is_rewritten = self._find(slug)
        value = self._checked(slug, value)
        if ef.structure is Structure.TRANSPARENT:
            self._write_transparent(ef, value, keys)
            return
        if slug == "name" and (extension := _extension(ef)) is not None:
            first, second = split_name(str(value))
            records = [encode_record(item, first), encode_record(extension, second)]
        elif is_rewritten:
            records = [self._rewritten(ef, item, value, keys)]
        else:
            records = [encode_record(item, value)]
        if item.count > 1:
            number = self._record(ef, item, instance, keys)[0]
            self._write(ef, [c.update_record(ef.sfi, number, records[0])], keys)
            return
        self._write(ef, [c.update_record_by_tag(ef.sfi, record) for record in records], keys)
        if ef.path == "SSSEEF05":
            self._card.issuer |= {record[0]: record[2:] for record in records}

    def _checked(self, slug: str, value: Any) -> Any:
        """Numbers have check digits; what readers find keys and structure by must stay what this card is."""
        if slug in NUMBERS:
            return NUMBERS[slug](str(value))
        if slug == "specification_version" and str(value)[:3] != self._card.known_spec().generation:
            raise CodecError("another specification version would be another card")
        if slug == "card_identification_code" and IdentificationCode.from_hex(str(value)).region != self._card.region:
            raise CodecError("another region would be another card: its keys belong to the region")
        return value

    def write_and_check(self, name: str, value: Any, keys: CardAuthenticator) -> Any:
        """`write_item`, then what the card says now. Raises CardDataError when that is stored differently."""
        self.write_item(name, value, keys)
        now = self.read_item(name, keys)
        ef, item, _ = self._find(split_instance(name)[0])
        if ef.structure is Structure.TRANSPARENT:
            is_same = _encode_bytes(item, value) == _encode_bytes(item, now)
        elif item.slug == "name":
            is_same = str(value) == now
        else:
            is_same = encode_value(item, value) == encode_value(item, now)
        if not is_same:
            raise CardDataError(f"the card kept another value of {name}")
        return now

    def append(self, path: str, values: Mapping[str, object], keys: CardAuthenticator) -> None:
        """Add a record to a cyclic file (`DF02EF07`); the oldest one falls out. Raises CodecError."""
        ef = self._card.known_spec().ef(path)
        self._write(ef, [c.append_record(ef.sfi, encode_cyclic(ef, values))], keys)

    def _write_transparent(self, ef: EfSpec, value: Any, keys: CardAuthenticator) -> None:
        item = ef.items[0]
        raw = _encode_bytes(item, value)
        starts = range(0, len(raw), MAX_DATA)
        self._write(ef, [c.update_binary(ef.sfi, at, raw[at : at + MAX_DATA]) for at in starts], keys)

    def _write(self, ef: EfSpec, updates: list[CommandApdu], keys: CardAuthenticator) -> None:
        """Plain commands; secured ones where the card asks for it and `keys` secure messages (P7 §7.3, OPEN C17)."""
        self._card.prepare(ef, ef.write, keys)
        for update in updates:
            answer = self._card.exchange(update)
            if answer.sw == SW.MAC_MISSING and isinstance(keys, MessageKeys):
                message_key = "STK" if ef.df == "SSSE" else f"STK{ef.df}"
                answer = self._card.exchange(self._card.secured(update, message_key, keys))
            check(answer, update.ins)

    def _rewritten(self, ef: EfSpec, item: ItemSpec, value: Any, keys: CardAuthenticator) -> bytes:
        spec, tag, leader = self._card.known_spec(), tag_of(item), None
        if tag in spec.follows:
            stored = {record.tag: record.value for record in self.read_records(ef, keys)}
            leader = stored.get(spec.follows[tag])
        return rewritten_record(spec, ef.path, item, value, leader)

    def _read_by_tag(self, ef: EfSpec, item: ItemSpec, authenticator: CardAuthenticator | None) -> bytes:
        self._card.prepare(ef, ef.read, authenticator)
        answer = self._card.send(c.read_record_by_tag(ef.sfi, tag_of(item), item.length + 2))
        return parse_all(answer.data)[0].value

    def _record(
        self, ef: EfSpec, item: ItemSpec, instance: int, authenticator: CardAuthenticator | None
    ) -> tuple[int, SimpleTlv]:
        """Number and content of the n-th record with this tag; chips differ in the order of their records."""
        if not 1 <= instance <= item.count:
            raise CodecError(f"{item.slug} has instances 1 to {item.count}")
        records = enumerate(self.read_records(ef, authenticator), start=1)
        same = [(number, record) for number, record in records if record.tag == item.tag]
        if len(same) < instance:
            raise CardDataError(f"the card holds {len(same)} records of {item.slug}")
        return same[instance - 1]

    def _find(self, slug: str) -> tuple[EfSpec, ItemSpec, bool]:
        """File and item; True when the item is a 2.0 meaning that a 1.0 card can only hold rewritten."""
        spec = self._card.known_spec()
        try:
            return *spec.find_item(slug), False
        except KeyError:
            if spec.generation is not Generation.V1:
                raise
        newer, item = load(Generation.V2).find_item(slug)
        if item.tag not in spec.rewritten and item.tag not in spec.follows:
            raise KeyError(f"{spec.generation} has no item {slug}")
        return spec.ef(newer.path), item, True


def split_instance(name: str) -> tuple[str, int]:
    """`degree:2` is ("degree", 2); without a number the first. Raises CodecError."""
    slug, colon, number = name.partition(":")
    if colon and not (number.isascii() and number.isdigit()):
        raise CodecError(f"{name}: a number was expected behind the colon")
    return slug, int(number) if colon else 1


def parse_all(raw: bytes) -> list[SimpleTlv]:
    """At least one record. Raises CardDataError."""
    try:
        records = parse_records(raw)
    except DecodingError as error:
        raise CardDataError("records on the card are cut off or malformed") from error
    if not records:
        raise CardDataError("the card answered with an empty record")
    return records


def decode_item(item: ItemSpec, raw: bytes) -> Any:
    try:
        return decode_value(item, raw)
    except CodecError as error:
        raise CardDataError(f"{item.slug} on the card is malformed: {error}") from error


def name_of(first: bytes, extension: bytes) -> str:
    try:
        return join_name(first, extension)
    except CodecError as error:
        raise CardDataError("the name on the card is malformed") from error


def tag_of(item: ItemSpec) -> int:
    if item.tag is None:
        raise CodecError(f"{item.slug} has no tag and cannot be addressed by name")
    return item.tag


def _decode_cyclic(ef: EfSpec, raw: bytes) -> dict[str, str]:
    try:
        return decode_cyclic(ef, raw)
    except CodecError as error:
        raise CardDataError(f"a record of {ef.path} is malformed: {error}") from error


def _directory_entry(raw: bytes) -> dict[str, str]:
    """AID and label of one 61 template (draft P3 §6.5.2)."""
    try:
        inner = {tlv.tag: tlv.value for template in parse(raw) for tlv in parse(template.value)}
        return {"aid": inner.get(0x4F, b"").hex().upper(), "label": inner.get(0x50, b"").decode("gb18030")}
    except (DecodingError, UnicodeDecodeError) as error:
        raise CardDataError("the directory is malformed") from error


def _encode_bytes(item: ItemSpec, value: Any) -> bytes:
    try:
        raw = value if isinstance(value, bytes) else bytes.fromhex(str(value))
    except ValueError as error:
        raise CodecError(f"{item.slug}: hex digits were expected") from error
    if len(raw) > item.length:
        raise CodecError(f"{item.slug}: {len(raw)} bytes, at most {item.length}")
    return raw.ljust(item.length, b"\x00")


def _extension(ef: EfSpec) -> ItemSpec | None:
    return next((item for item in ef.items if item.slug == "name_extension"), None)
