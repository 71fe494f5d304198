"""A session with one social security card: detect, authenticate, read and write by item name.

Draft P7 §5-8. Commands are as few as the card allows; the budgets stand in `tests/cardlib/test_session.py`.
Thread rule: a session belongs to the thread of its reader.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from apdu.channel import Channel, follow_up, transceive
from apdu.command import CommandApdu
from apdu.errors import DecodingError, StatusWordError
from apdu.response import ResponseApdu
from apdu.simple_tlv import parse_records
from apdu.sw import SW, check
from apdu.tlv import parse
from cardlib import commands as c
from cardlib.codec import CodecError, decode_value, encode_record, join_name, rewritten_value
from cardlib.identity import IdentificationCode, IdentityError, card_factor, reset_information
from cardlib.psam import PsamAbsentError, PsamError
from cardlib.spec import (
    Access,
    AccessKind,
    CardSpec,
    EfSpec,
    Generation,
    ItemSpec,
    Structure,
    load,
)
from cardlib.spec.names import SSSE_NAME
from hsm.api import Algorithm, CardAuthenticator, CardFactors, KeyRef

MAX_RESPONSE = 256
PIN_TRIES_KEPT = 1
"""Tries a program leaves to the holder unless an operator says otherwise (targets.md, row 7)."""

_LOCAL_KEY = 0x80
_ITEM_FILES = (Structure.LINEAR_VARIABLE, Structure.LINEAR_FIXED)
_FCI_LENGTHS = {Algorithm.TDES: 0x18, Algorithm.SM4: 0x1E}
"""FCI of an issued card: name and DIR; an SM4 card adds its algorithm identifier (card_files.md §3)."""
_FCI_ALGORITHMS = {0x01: Algorithm.TDES, 0x03: Algorithm.SM4}


class CardUnsupportedError(Exception):
    """Not a social security card, or one this system cannot serve."""

    failure: ClassVar[str] = "CARD_UNSUPPORTED"


class CardDataError(Exception):
    """The card answered, but its content is not what the specification says."""

    failure: ClassVar[str] = "CARD_DATA_INVALID"


class CardBlankError(Exception):
    """A social security card that has not been personalised."""

    failure: ClassVar[str] = "CARD_STATE"


class CardNotGenuineError(Exception):
    """Internal authentication failed: the card does not hold its issuer's key."""

    failure: ClassVar[str] = "CARD_NOT_GENUINE"


class LastTryError(Exception):
    """Refused: a wrong value would lock the object. `attempts_remaining` as the card tells it."""

    failure: ClassVar[str] = "PIN_LOCKED"

    def __init__(self, attempts_remaining: int) -> None:
        super().__init__(f"{attempts_remaining} tries left")
        self.attempts_remaining = attempts_remaining


@dataclass(frozen=True, slots=True)
class BasicInformation:
    """What `iReadCardBas` tells of a card. Dates YYYYMMDD or as the card has them; `genuine` None = not checked."""

    region: str
    social_security_number: str
    card_number: str
    identification_code: str
    name: str
    reset_information: str
    version: str
    issue_date: str
    expiry_date: str
    generation: Generation
    algorithm: Algorithm
    card_class: str
    sex: str
    ethnic_group: str
    birthplace: str
    birth_date: str
    genuine: bool | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class SocialSecurityCard:
    """One powered card. `atr` as the reader reports it; the channel is raw, follow-ups of T=0 happen here."""

    def __init__(self, channel: Channel, atr: bytes, *, protocol: str = "T=0") -> None:
        self._channel = follow_up(channel, protocol)
        self.reset_information = reset_information(atr)
        self.factors_card = card_factor(self.reset_information)
        self.algorithm: Algorithm | None = None
        self.spec: CardSpec | None = None
        self.region = ""
        self._df = ""
        self._authenticated: set[str] = set()
        self._issuer: dict[int, bytes] = {}

    # -- detection ----------------------------------------------------------------------------------------------

    def open(self) -> CardSpec:
        """SELECT the SSSE and read 发卡机构数据: generation, region, algorithm. Two commands on a card as issued.

        The algorithm follows from the version. The FCI, which T=0 would spend a GET RESPONSE on, is fetched when its
        announced length is not the one that belongs to that algorithm, or when an authentication contradicts it.
        Raises CardUnsupportedError, CardDataError, CardBlankError.
        """
        answer = transceive(self._channel, c.select_name(SSSE_NAME))
        if answer.sw in (SW.FILE_NOT_FOUND, SW.WRONG_P1_P2, SW.CLA_UNKNOWN, SW.INS_UNKNOWN, SW.WRONG_LENGTH):
            raise CardUnsupportedError(f"no social security environment ({answer.sw:04X})")
        check(answer, 0xA4)
        self._df = "SSSE"
        issuer = load(Generation.V3).ef("SSSEEF05")
        announced = answer.sw & 0xFF if answer.sw1 == 0x61 else 0
        answer = transceive(self._channel, c.read_records_from(issuer.sfi, 1, issuer.size))
        if answer.sw == SW.RECORD_NOT_FOUND:
            raise CardBlankError("the card holds no data yet")
        self._issuer = _records(check(answer, 0xB2).data)
        version = self._issuer.get(0x03, b"")[:3].decode("ascii", "replace")
        self.spec = load(_generation(version))
        self.algorithm = Algorithm(self.spec.algorithm)
        try:
            self.region = IdentificationCode.from_bytes(self._issuer.get(0x01, b"")).region
        except IdentityError as error:
            raise CardDataError("card identification code missing or malformed") from error
        if announced and announced != _FCI_LENGTHS[self.algorithm]:
            self.algorithm = self.read_fci()
        return self.spec

    def read_fci(self) -> Algorithm:
        """SELECT again with the FCI; the algorithm identifier is tag 86 inside 9F0C, absent = 3DES (OPEN F1).

        Raises CardUnsupportedError for SSF33 and unknown identifiers.
        """
        answer = self._send(c.select_name(SSSE_NAME, want_fci=True))
        try:
            template = next(tlv for tlv in parse(answer.data) if tlv.tag == 0x6F)
            proprietary = [inner for tlv in parse(template.value) if tlv.tag == 0xA5 for inner in parse(tlv.value)]
            identifiers = [
                identifier.value
                for data in proprietary
                if data.tag == 0x9F0C
                for identifier in parse(data.value)
                if identifier.tag == 0x86
            ]
        except (DecodingError, StopIteration) as error:
            raise CardDataError("FCI of the environment is malformed") from error
        if not identifiers:
            return Algorithm.TDES
        try:
            return _FCI_ALGORITHMS[int.from_bytes(identifiers[0], "big")]
        except KeyError:
            raise CardUnsupportedError(f"algorithm identifier {identifiers[0].hex()} is not supported") from None

    # -- authentication -----------------------------------------------------------------------------------------

    def check_genuine(self, authenticator: CardAuthenticator) -> None:
        """INTERNAL AUTHENTICATION with IRK (P5 §6.7). Raises CardNotGenuineError."""
        if self._is_genuine(authenticator):
            return
        algorithm = self.read_fci()
        if algorithm is not self.algorithm:
            self.algorithm = algorithm
            if self._is_genuine(authenticator):
                return
        raise CardNotGenuineError("internal authentication failed")

    def _is_genuine(self, authenticator: CardAuthenticator) -> bool:
        factor, original = secrets.token_bytes(8), secrets.token_bytes(8)
        answer = self._send(c.internal_authentication(factor, original))
        expected = authenticator.authentication_value(self._ref("IRK"), self._factors(), factor, original)
        return hmac.compare_digest(answer.data, expected)

    def authenticate(self, key: str, authenticator: CardAuthenticator) -> None:
        """EXTERNAL AUTHENTICATION with a card key (`RK1DF04`); once per key and DF. Two commands.

        Raises StatusWordError with the tries left, PsamError when the PSAM lacks the key.
        """
        if key in self._authenticated:
            return
        spec = self._spec().key(key)
        if spec.kid & _LOCAL_KEY:
            self._select(spec.df)
        challenge = self._send(c.get_challenge()).data
        original = secrets.token_bytes(8)
        value = authenticator.authentication_value(self._ref(key), self._factors(), challenge, original)
        self._send(c.external_authentication(spec.kid, value, original))
        self._authenticated.add(key)

    def pin_tries(self) -> int | None:
        """Tries left, None when the holder has set no PIN; the counter stays as it is (P5 §6.14.5)."""
        answer = transceive(self._channel, c.verify(b""))
        if answer.is_ok:
            return None
        if answer.sw >> 4 == 0x63C:
            return answer.sw & 0x0F
        if answer.sw == SW.METHOD_BLOCKED:
            return 0
        check(answer, 0x20)
        raise CardDataError(f"unexpected answer {answer.sw:04X} to the PIN query")

    def verify_pin(self, pin: str, *, use_last_try: bool = False) -> None:
        """VERIFY once. Reads the counter first and refuses to spend the last try without `use_last_try`.

        Raises PinWrongError with the tries left, LastTryError, CodecError for anything but 4 to 12 digits.
        """
        block = encode_pin(pin)
        tries = self.pin_tries()
        if tries is not None and (tries == 0 or (tries <= PIN_TRIES_KEPT and not use_last_try)):
            raise LastTryError(tries)
        self._send(c.verify(block))

    # -- reading ------------------------------------------------------------------------------------------------

    def read_basic(self, authenticator: CardAuthenticator | None = None) -> BasicInformation:
        """发卡机构数据 and 持卡人基本信息. 1.0 and 2.0 without authenticator: three commands; 3.0 over T=0: seven.

        With an authenticator the card must prove itself genuine first. A 3.0 card needs one to open EF06 and raises
        PsamAbsentError without.
        """
        spec = self.open()
        if authenticator is not None:
            self.check_genuine(authenticator)
        holder = _records(b"".join(self._read_runs(spec.ef("SSSEEF06"), authenticator)))
        return self._basic(spec, holder, genuine=True if authenticator else None)

    def _basic(self, spec: CardSpec, holder: dict[int, bytes], *, genuine: bool | None) -> BasicInformation:
        def issuer_text(tag: int) -> str:
            return self._text(spec.item("SSSEEF05", tag), self._issuer.get(tag))

        def holder_text(tag: int) -> str:
            return self._text(spec.item("SSSEEF06", tag), holder.get(tag))

        number = holder_text(0x08)
        if not number:
            raise CardDataError("social security number missing")
        return BasicInformation(
            region=self.region,
            social_security_number=number,
            card_number=issuer_text(0x07),
            identification_code=self._issuer[0x01].hex().upper(),
            name=_name(holder.get(0x09, b""), holder.get(0x4E, b"")),
            reset_information=self.reset_information.hex().upper(),
            version=issuer_text(0x03),
            issue_date=issuer_text(0x05),
            expiry_date=issuer_text(0x06),
            generation=spec.generation,
            algorithm=Algorithm(spec.algorithm) if self.algorithm is None else self.algorithm,
            card_class=issuer_text(0x02),
            sex=holder_text(0x0A),
            ethnic_group=holder_text(0x0B),
            birthplace=holder_text(0x0C),
            birth_date=holder_text(0x0D),
            genuine=genuine,
        )

    def read_file(self, path: str, authenticator: CardAuthenticator | None = None) -> dict[str, Any]:
        """Every item of a linear file (`DF04EF05`) by slug; repeated items as lists. Raises as `authenticate`."""
        ef = self._spec().ef(path)
        if ef.structure not in _ITEM_FILES:
            raise CodecError(f"{path} is not a record file of items")
        found: dict[str, Any] = {}
        records = [record for raw in self._read_runs(ef, authenticator) for record in _parse(raw)]
        stored = {record.tag: record.value for record in reversed(records)}
        for record in records:
            try:
                item, raw = rewritten_value(self._spec(), path, record.tag, stored | {record.tag: record.value})
            except KeyError:
                raise CardDataError(f"{path} holds the unknown tag {record.tag:02X}") from None
            value = _decode(item, raw)
            if item.count > 1:
                found.setdefault(item.slug, []).append(value)
            else:
                found[item.slug] = value
        return found

    def read_all(self, authenticator: CardAuthenticator | None = None) -> dict[str, dict[str, Any]]:
        """Every record file that may be read with what is at hand, by path; files that refuse are left out."""
        files: dict[str, dict[str, Any]] = {}
        for df in self._spec().dfs:
            for ef in df.efs:
                if ef.structure in _ITEM_FILES:
                    try:
                        files[ef.path] = self.read_file(ef.path, authenticator)
                    except (StatusWordError, PsamError):
                        continue
        return files

    def read_item(self, slug: str, authenticator: CardAuthenticator | None = None) -> Any:
        """One item by its slug (`name`, `issue_date`), read by tag. Raises KeyError for an unknown slug."""
        ef, item = self._spec().find_item(slug)
        self._prepare(ef, ef.read, authenticator)
        answer = self._send(c.read_record_by_tag(ef.sfi, _tag(item), item.length + 2))
        return _decode(item, _parse(answer.data)[0].value)

    def write_item(self, slug: str, value: Any, authenticator: CardAuthenticator) -> None:
        """Replace one item by its slug. The writing key is authenticated first. Raises CodecError on a bad value."""
        ef, item = self._spec().find_item(slug)
        record = encode_record(item, value)
        self._prepare(ef, ef.write, authenticator)
        self._send(c.update_record_by_tag(ef.sfi, record))
        if ef.path == "SSSEEF05":
            self._issuer[_tag(item)] = record[2:]

    # -- helpers ------------------------------------------------------------------------------------------------

    def _spec(self) -> CardSpec:
        return self.spec or self.open()

    def _ref(self, key: str) -> KeyRef:
        return KeyRef(key, self.algorithm or Algorithm(self._spec().algorithm))

    def _factors(self) -> CardFactors:
        return CardFactors(self.region, self.factors_card)

    def _send(self, command: CommandApdu) -> ResponseApdu:
        return check(transceive(self._channel, command), command.ins)

    def _text(self, item: ItemSpec, raw: bytes | None) -> str:
        return "" if raw is None else str(_decode(item, raw))

    def _select(self, df: str) -> None:
        if self._df == df:
            return
        self._send(c.select_name(self._spec().df(df).aid))
        self._df = df
        # Local key states end with their DF (card_commands.md, OPEN C3); global ones last until reset.
        self._authenticated = {key for key in self._authenticated if not self._spec().key(key).kid & _LOCAL_KEY}

    def _prepare(self, ef: EfSpec, access: Access, authenticator: CardAuthenticator | None) -> None:
        """Select the file's DF and satisfy the key part of an access rule; the PIN part is the caller's act."""
        self._select(ef.df)
        if not access.names_key:
            return
        if authenticator is not None:
            self.authenticate(access.key, authenticator)
        elif access.kind is not AccessKind.PIN_OR_KEY:
            raise PsamAbsentError(f"{ef.path} needs {access.key}, and no PSAM or key service is at hand")

    def _read_runs(self, ef: EfSpec, authenticator: CardAuthenticator | None) -> Iterator[bytes]:
        """Whole records of a linear file, all at once where one short response can carry them (OPEN F14)."""
        self._prepare(ef, ef.read, authenticator)
        if ef.size <= MAX_RESPONSE:
            yield self._send(c.read_records_from(ef.sfi, 1, ef.size)).data
            return
        lengths = [item.length + 2 for item in ef.items for _ in range(item.count)]
        for number, length in enumerate(lengths, start=1):
            answer = transceive(self._channel, c.read_record(ef.sfi, number, length))
            if answer.sw == SW.RECORD_NOT_FOUND:
                return
            yield check(answer, 0xB2).data


def encode_pin(pin: str) -> bytes:
    """Packed BCD, odd lengths filled with F (P5 §6.3.1). Raises CodecError unless 4 to 12 digits."""
    if not (4 <= len(pin) <= 12 and pin.isascii() and pin.isdigit()):
        raise CodecError("a PIN has 4 to 12 digits")
    return bytes.fromhex(pin + "F" * (len(pin) % 2))


def _parse(raw: bytes) -> list[Any]:
    try:
        records = parse_records(raw)
    except DecodingError as error:
        raise CardDataError("records on the card are cut off or malformed") from error
    if not records:
        raise CardDataError("the card answered with an empty record")
    return records


def _records(raw: bytes) -> dict[int, bytes]:
    return {record.tag: record.value for record in _parse(raw)}


def _generation(version: str) -> Generation:
    """V2.0 App. C: decided by the first three characters of 规范版本; an empty one is a 1.0 card."""
    if not version.strip("\x00\xff �"):
        return Generation.V1
    try:
        return Generation(version)
    except ValueError:
        raise CardUnsupportedError(f"specification version {version!r} is not known") from None


def _decode(item: ItemSpec, raw: bytes) -> Any:
    try:
        return decode_value(item, raw)
    except CodecError as error:
        raise CardDataError(f"{item.slug} on the card is malformed: {error}") from error


def _name(first: bytes, extension: bytes) -> str:
    try:
        return join_name(first, extension)
    except CodecError as error:
        raise CardDataError("the name on the card is malformed") from error


def _tag(item: ItemSpec) -> int:
    if item.tag is None:
        raise CodecError(f"{item.slug} has no tag and cannot be addressed by name")
    return item.tag


__all__ = [
    "BasicInformation",
    "CardDataError",
    "CardNotGenuineError",
    "CardUnsupportedError",
    "LastTryError",
    "SocialSecurityCard",
    "StatusWordError",
    "encode_pin",
]
