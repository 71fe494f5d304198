"""A session with one social security card: detect, authenticate, read and write by item name.

Draft P7 §5-8. Commands are as few as the card allows; the budgets stand in `tests/cardlib/test_session.py`.
Thread rule: a session belongs to the thread of its reader.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from apdu.channel import Channel, follow_up, transceive
from apdu.command import CommandApdu
from apdu.errors import PinLockedError, PinWrongError, StatusWordError
from apdu.response import ResponseApdu
from apdu.sw import SW, check
from cardlib import commands as c
from cardlib.codec import CodecError
from cardlib.errors import (
    CardBlankError,
    CardDataError,
    CardNotGenuineError,
    CardUnsupportedError,
    ForeignCardError,
    LastTryError,
    RepeatedPinError,
)
from cardlib.fci import FCI_LENGTHS, algorithm_of_fci
from cardlib.files import CardContent, CardFiles, decode_item, name_of, parse_all
from cardlib.guard import TRIES_KEPT, KeyTries, WrongPins, process_tries
from cardlib.identity import IdentificationCode, IdentityError, card_factor, reset_information
from cardlib.key_set import ONLY_SET, KeySet, set_of_answer, set_versions
from cardlib.psam import PsamAbsentError
from cardlib.spec import Access, AccessKind, CardSpec, EfSpec, Generation, ItemSpec, load
from cardlib.spec.names import SSSE_NAME
from hsm.api import Algorithm, CardAuthenticator, CardFactors, KeyRef, KeyVersions, MessageKeys

_LOCAL_KEY = 0x80


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
    """One powered card. `atr` as the reader reports it; the channel is raw, follow-ups of T=0 happen here.

    `tries` is the guard that remembers failed keys, by default one for the whole process; `use_last_try` is an
    operator's word that a key's last try may be spent. `is_pin_verified` is what this session achieved; `key_version`
    is the set of roots the card turned out to carry (`cardlib.key_set`), 0 = not asked yet. `files` reads and writes,
    `cardlib.medical` and `cardlib.management` do the rest.
    """

    def __init__(
        self,
        channel: Channel,
        atr: bytes,
        *,
        protocol: str = "T=0",
        tries: KeyTries | None = None,
        use_last_try: bool = False,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._channel = follow_up(channel, protocol)
        self._random = random
        self.reset_information = reset_information(atr)
        self.factors_card = card_factor(self.reset_information)
        self.algorithm: Algorithm | None = None
        self.spec: CardSpec | None = None
        self.region = ""
        self.is_pin_verified = False
        self.key_version = 0
        self.files = CardFiles(self)
        self.issuer: dict[int, bytes] = {}
        self._tries = tries or process_tries()
        self._use_last_try = use_last_try
        self._wrong_pins = WrongPins()
        self._df = ""
        self._keys: KeySet | None = None
        self._authenticated: set[str] = set()

    # -- detection ----------------------------------------------------------------------------------------------

    def open(self) -> CardSpec:
        """SELECT the SSSE and read 发卡机构数据: generation, region, algorithm. Two commands on a card as issued.

        The algorithm follows from the version. The FCI, which T=0 would spend a GET RESPONSE on, is fetched when its
        announced length is not the one that belongs to that algorithm, or when an authentication contradicts it.
        Raises CardUnsupportedError, CardDataError, CardBlankError.
        """
        answer = transceive(self._channel, c.select_name(SSSE_NAME))
        if answer.sw in (SW.FILE_NOT_FOUND, SW.WRONG_P1_P2, SW.CLA_UNKNOWN, SW.INS_UNKNOWN, SW.WRONG_LENGTH):
            raise ForeignCardError(f"no social security environment ({answer.sw:04X})")
        check(answer, 0xA4)
        self._df = "SSSE"
        issuer = load(Generation.V3).ef("SSSEEF05")
        announced = answer.sw & 0xFF if answer.sw1 == 0x61 else 0
        answer = transceive(self._channel, c.read_records_from(issuer.sfi, 1, issuer.size))
        if answer.sw == SW.RECORD_NOT_FOUND:
            raise CardBlankError("the card holds no data yet")
        self.issuer = _records(check(answer, 0xB2).data)
        version = self.issuer.get(0x03, b"")[:3].decode("ascii", "replace")
        self.spec = load(_generation(version))
        self.algorithm = Algorithm(self.spec.algorithm)
        try:
            self.region = IdentificationCode.from_bytes(self.issuer.get(0x01, b"")).region
        except IdentityError as error:
            raise CardDataError("card identification code missing or malformed") from error
        if announced and announced != FCI_LENGTHS[self.algorithm]:
            self.algorithm = self.read_fci()
        return self.spec

    def read_fci(self) -> Algorithm:
        """SELECT again with the FCI; the algorithm identifier is tag 86 inside 9F0C, absent = 3DES (OPEN F1).

        Raises CardUnsupportedError for SSF33 and unknown identifiers.
        """
        self._df = ""
        answer = self.send(c.select_name(SSSE_NAME, want_fci=True))
        self._entered("SSSE")
        return algorithm_of_fci(answer.data)

    # -- authentication -----------------------------------------------------------------------------------------

    def check_genuine(self, authenticator: CardAuthenticator) -> None:
        """INTERNAL AUTHENTICATION with IRK (P5 §6.7), one for all sets of roots. Raises CardNotGenuineError."""
        if self._is_genuine(authenticator):
            return
        algorithm = self.read_fci()
        if algorithm is not self.algorithm:
            self.algorithm = algorithm
            if self._is_genuine(authenticator):
                return
        raise CardNotGenuineError("internal authentication failed")

    def _is_genuine(self, authenticator: CardAuthenticator) -> bool:
        factor, original = self._random(8), self._random(8)
        answer = self.send(c.internal_authentication(factor, original)).data
        algorithm = self.known_algorithm()
        version = set_of_answer(authenticator, algorithm, self.factors, factor, original, answer)
        if version is not None and isinstance(authenticator, KeyVersions):
            self.key_version = version
        return version is not None

    def authenticate(self, key: str, authenticator: CardAuthenticator) -> None:
        """EXTERNAL AUTHENTICATION with a card key (`RK1DF04`); once per key and DF. Two commands.

        Raises LastKeyTryError, StatusWordError with the tries left, PsamError when the PSAM lacks the key.
        """
        if key in self._authenticated:
            return
        spec, ref = self.known_spec().key(key), self.ref(key, authenticator)
        self._tries.require(self.reset_information, key, use_last_try=self._use_last_try)
        if spec.kid & _LOCAL_KEY:
            self.select(spec.df)
        challenge = self.send(c.get_challenge()).data
        original = self._random(8)
        value = authenticator.authentication_value(ref, self.factors, challenge, original)
        try:
            self.send(c.external_authentication(spec.kid, value, original))
        except StatusWordError as error:
            self.remember_failure(key, error)
            raise
        self._tries.succeeded(self.reset_information, key)
        self._authenticated.add(key)

    def remember_failure(self, key: str, error: StatusWordError) -> None:
        """Keep the tries a key has left after a refusal; other refusals tell nothing of it."""
        if error.attempts_remaining is not None:
            self._tries.failed(self.reset_information, key, error.attempts_remaining)

    def forget_authentication(self, key: str) -> None:
        """The card took the key's state back, as PIN CHANGE/UNBLOCK does with PUK."""
        self._authenticated.discard(key)

    # -- the holder's PIN ---------------------------------------------------------------------------------------

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

        Raises PinWrongError with the tries left, LastTryError, RepeatedPinError for a PIN that was wrong before,
        CodecError for anything but 4 to 12 digits.
        """
        block = encode_pin(pin)
        tries = self.pin_tries()
        self._send_pin(c.verify(block), block, tries, use_last_try=use_last_try)
        self.is_pin_verified = True

    def change_pin(self, old: str, new: str, *, use_last_try: bool = False) -> None:
        """CHANGE PIN; empty `old` sets the first PIN, empty `new` removes it. Raises as `verify_pin`.

        The first PIN of a card does not count as verified (P5 §6.3).
        """
        old_block, new_block = (encode_pin(pin) if pin else b"" for pin in (old, new))
        tries = self.pin_tries()
        if (tries is not None) != bool(old):
            raise CodecError("the old PIN is needed" if not old else "this card has no PIN yet")
        self._send_pin(c.change_pin(old_block, new_block), old_block, tries, use_last_try=use_last_try)
        self.forget_pin()
        self.is_pin_verified = bool(old)

    def forget_pin(self) -> None:
        """The PIN on the card is another one now."""
        self.is_pin_verified = False
        self._wrong_pins.clear()

    def _send_pin(self, command: CommandApdu, block: bytes, tries: int | None, *, use_last_try: bool) -> None:
        """Once, and only when `tries` allow it."""
        if block in self._wrong_pins:
            raise RepeatedPinError("this PIN was wrong a moment ago; it was not sent again")
        if tries is not None and (tries == 0 or (tries <= TRIES_KEPT and not use_last_try)):
            raise LastTryError(tries)
        try:
            self.send(command)
        except (PinWrongError, PinLockedError):
            self.is_pin_verified = False
            if tries is not None:
                self._wrong_pins.add(block)
            raise

    # -- reading ------------------------------------------------------------------------------------------------

    def read_basic(self, authenticator: CardAuthenticator | None = None) -> BasicInformation:
        """发卡机构数据 and 持卡人基本信息. 1.0 and 2.0 without authenticator: three commands; 3.0 over T=0: seven.

        With an authenticator the card must prove itself genuine first. A 3.0 card needs one to open EF06 and raises
        PsamAbsentError without.
        """
        spec = self.open()
        if authenticator is not None:
            self.check_genuine(authenticator)
        holder = _records(b"".join(self.files.read_runs(spec.ef("SSSEEF06"), authenticator)))
        return self._basic(spec, holder, genuine=True if authenticator else None)

    def _basic(self, spec: CardSpec, holder: dict[int, bytes], *, genuine: bool | None) -> BasicInformation:
        def issuer_text(tag: int) -> str:
            return _text(spec.item("SSSEEF05", tag), self.issuer.get(tag))

        def holder_text(tag: int) -> str:
            return _text(spec.item("SSSEEF06", tag), holder.get(tag))

        number = holder_text(0x08)
        if not number:
            raise CardDataError("social security number missing")
        return BasicInformation(
            region=self.region,
            social_security_number=number,
            card_number=issuer_text(0x07),
            identification_code=self.identification_code,
            name=name_of(holder.get(0x09, b""), holder.get(0x4E, b"")),
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

    def read_file(self, path: str, authenticator: CardAuthenticator | None = None) -> Any:
        """Every item of a file (`DF04EF05`), see `CardFiles.read`. Raises as `authenticate`."""
        return self.files.read(self.known_spec().ef(path), authenticator)

    def read_all(self, authenticator: CardAuthenticator | None = None) -> CardContent:
        """Every file that may be read with what is at hand."""
        return self.files.read_all(authenticator)

    def read_item(self, slug: str, authenticator: CardAuthenticator | None = None) -> Any:
        """One item by its slug (`name`, `issue_date`, `degree:2`). Raises KeyError for an unknown one."""
        return self.files.read_item(slug, authenticator)

    def write_item(self, slug: str, value: Any, keys: CardAuthenticator) -> None:
        """Replace one item by its slug. The writing key is authenticated first. Raises CodecError on a bad value."""
        self.files.write_item(slug, value, keys)

    # -- what the other modules of a session build on --------------------------------------------------------------

    def known_spec(self) -> CardSpec:
        return self.spec or self.open()

    def known_algorithm(self) -> Algorithm:
        return self.algorithm or Algorithm(self.known_spec().algorithm)

    def ref(self, key: str, source: object, index: int = 1) -> KeyRef:
        """The card's key as `source` knows it; `index` as in `KeySet.ref`. No command, with one exception:

        the first time for a source of several sets the card must prove itself, and tells its set by that, so no try is
        ever spent with a key of another set. Raises as `check_genuine`.
        """
        version = self._set_in(source)
        keys = KeySet(source, self.known_algorithm(), version)
        if keys != self._keys:
            self._keys = keys
        return self._keys.ref(key, index)

    def _set_in(self, source: object) -> int:
        if not isinstance(source, KeyVersions):
            return ONLY_SET
        if not self.key_version:
            held = set_versions(source, self.known_algorithm())
            if len(held) == 1:
                return held[0]
            df = self._df
            self.check_genuine(source)
            self.select(df or "SSSE")
        return self.key_version

    @property
    def factors(self) -> CardFactors:
        return CardFactors(self.region, self.factors_card)

    @property
    def identification_code(self) -> str:
        """32 hex digits, once the card is open."""
        return self.issuer[0x01].hex().upper()

    @property
    def card_number(self) -> str:
        return _text(self.known_spec().item("SSSEEF05", 0x07), self.issuer.get(0x07))

    def exchange(self, command: CommandApdu) -> ResponseApdu:
        """The card's answer, whatever it is."""
        return transceive(self._channel, command)

    def send(self, command: CommandApdu) -> ResponseApdu:
        """The answer to a command that was carried out. Raises StatusWordError."""
        return check(self.exchange(command), command.ins)

    def secured(
        self, command: CommandApdu, message_key: str, keys: MessageKeys, *, encrypt: bool = False
    ) -> CommandApdu:
        """`command` with its data field secured under a fresh challenge (P4 §8); class 04 or 84. One command."""
        cla = command.cla | 0x04
        header = bytes((cla, command.ins, command.p1, command.p2))
        ref = self.ref(message_key, keys)
        challenge = self.send(c.get_challenge()).data
        field = keys.secured_data(ref, self.factors, challenge, header, command.data, encrypt=encrypt)
        return CommandApdu(cla, command.ins, command.p1, command.p2, field, command.le)

    def select(self, df: str) -> None:
        if self._df == df:
            return
        # A refused SELECT may have changed the current DF all the same: a blocked one becomes current (P7 §13.2).
        self._df = ""
        self.send(c.select_name(self.known_spec().df(df).aid))
        self._entered(df)

    def _entered(self, df: str) -> None:
        self._df = df
        # Local key states end with their DF (card_commands.md, OPEN C3); global ones last until reset.
        self._authenticated = {key for key in self._authenticated if not self.known_spec().key(key).kid & _LOCAL_KEY}

    def prepare(self, ef: EfSpec, access: Access, authenticator: CardAuthenticator | None) -> None:
        """Select the file's DF and satisfy the key part of an access rule; the PIN part is the caller's act."""
        self.select(ef.df)
        if not access.names_key or (access.kind is AccessKind.PIN_OR_KEY and self.is_pin_verified):
            return
        if authenticator is not None:
            self.authenticate(access.key, authenticator)
        elif access.kind is not AccessKind.PIN_OR_KEY:
            raise PsamAbsentError(f"{ef.path} needs {access.key}, and no PSAM or key service is at hand")


def encode_pin(pin: str) -> bytes:
    """Packed BCD, odd lengths filled with F (P5 §6.3.1). Raises CodecError unless 4 to 12 digits."""
    if not (4 <= len(pin) <= 12 and pin.isascii() and pin.isdigit()):
        raise CodecError("a PIN has 4 to 12 digits")
    return bytes.fromhex(pin + "F" * (len(pin) % 2))


def _records(raw: bytes) -> dict[int, bytes]:
    return {record.tag: record.value for record in parse_all(raw)}


def _text(item: ItemSpec, raw: bytes | None) -> str:
    return "" if raw is None else str(decode_item(item, raw))


def _generation(version: str) -> Generation:
    """V2.0 App. C: decided by the first three characters of 规范版本; an empty one is a 1.0 card."""
    if not version.strip("\x00\xff �"):
        return Generation.V1
    try:
        return Generation(version)
    except ValueError:
        raise CardUnsupportedError(f"specification version {version!r} is not known") from None


__all__ = [
    "BasicInformation",
    "CardBlankError",
    "CardDataError",
    "CardNotGenuineError",
    "CardUnsupportedError",
    "LastTryError",
    "SocialSecurityCard",
    "StatusWordError",
    "encode_pin",
]
