"""The certificate application of a 3.0 card (PKI.社会保障 / SS.CERT.ADF1): keys, certificates, signatures, envelopes.

Commands as writers of such cards were seen to send them (card_digest.md §7.2, personalization.md §11); the ones no
source shows are listed in docs/card-applications.md. Thread rule: a session belongs to the thread of its reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from apdu.channel import Channel, follow_up, transceive
from apdu.command import CommandApdu
from apdu.errors import PinWrongError, StatusWordError
from apdu.response import ResponseApdu
from apdu.sw import SW, check
from apdu.sw import error as status_error
from apdu.tlv import Tlv, encode
from cardlib.errors import CardDataError, CardNotGenuineError, LastTryError, RepeatedPinError
from cardlib.guard import TRIES_KEPT, WrongPins
from cardlib.pki_envelope import Envelope, message_digest
from cardlib.session import encode_pin
from hsm.primitives import AuthenticationFailed, Engine, default_engine

ENVIRONMENT_NAME = b"PKI." + "社会保障".encode("gbk")
APPLICATION_NAME = b"SS.CERT.ADF1"
SLICE = 250
"""Bytes of a certificate per command, as writers send them."""
CERTIFICATE_MAX = 2048
_INS_VERIFY, _INS_CHANGE, _INS_RESET = 0x20, 0x5E, 0x2C
_TAG_PUBLIC, _TAG_CIPHER, _TAG_PRIVATE, _TAG_POINT, _TAG_NUMBER = 0xC0, 0xC1, 0xC2, 0xCA, 0xCB
_BLOCK = 16
_MAC_LENGTH = 4
_KEY_LENGTH = 16


class Pin(Enum):
    """P2 of the PIN commands. The user signs and deciphers; the administrator makes keys and writes certificates."""

    USER = 0x81
    ADMIN = 0x00


class KeyUse(Enum):
    """The two key pairs: (public EF, private EF, certificate EF)."""

    SIGNING = (0x0012, 0x0013, 0x0018)
    ENCRYPTION = (0x0014, 0x0015, 0x0019)

    @property
    def public_fid(self) -> int:
        return self.value[0]

    @property
    def private_fid(self) -> int:
        return self.value[1]

    @property
    def certificate_fid(self) -> int:
        return self.value[2]


@dataclass(frozen=True, slots=True)
class PkiInfo:
    """What the card tells anyone; keys 04 || X || Y, None where there is no pair, certificates empty where none."""

    user_tries: int
    admin_tries: int
    signing_key: bytes | None
    encryption_key: bytes | None
    signing_certificate: bytes
    encryption_certificate: bytes

    def to_json(self) -> dict[str, Any]:
        def key(value: bytes | None) -> str | None:
            return None if value is None else value.hex().upper()

        return {
            "user_tries": self.user_tries,
            "admin_tries": self.admin_tries,
            "signing_key": key(self.signing_key),
            "encryption_key": key(self.encryption_key),
            "signing_certificate_bytes": len(self.signing_certificate),
            "encryption_certificate_bytes": len(self.encryption_certificate),
        }


class PkiSession:
    """One powered card with the application selected; the channel is raw."""

    def __init__(self, channel: Channel, *, protocol: str = "T=0", engine: Engine | None = None) -> None:
        self._channel = follow_up(channel, protocol)
        self._engine = engine or default_engine()
        self._wrong = {pin: WrongPins() for pin in Pin}

    def open(self) -> None:
        """SELECT environment and application. Raises NotFoundError on a card without them."""
        for name in (ENVIRONMENT_NAME, APPLICATION_NAME):
            self._send(CommandApdu(0x00, 0xA4, 0x04, 0x00, name))

    # -- PINs -----------------------------------------------------------------------------------------------------

    def tries(self, pin: Pin = Pin.USER) -> int:
        """Tries left, asked with an empty VERIFY; 0 when locked."""
        answer = self._exchange(CommandApdu(0x00, _INS_VERIFY, 0x01, pin.value))
        if answer.sw == SW.METHOD_BLOCKED:
            return 0
        if answer.sw & 0xFFF0 != 0x63C0:
            raise CardDataError(f"the card does not tell its tries ({answer.sw:04X})")
        return answer.sw & 0x0F

    def verify(self, digits: str, pin: Pin = Pin.USER, *, use_last_try: bool = False) -> None:
        """Prove a PIN: SM4 of the card's challenge under its key. The PIN itself is never sent.

        The tries are read first. Raises LastTryError and RepeatedPinError without sending anything, PinWrongError,
        PinLockedError.
        """
        key = self._guarded(digits, pin, use_last_try=use_last_try)
        body = self._engine.sm4_ecb(key, self._challenge().ljust(_BLOCK, b"\0"))
        self._spend(pin, key, CommandApdu(0x00, _INS_VERIFY, 0x01, pin.value, body))

    def change_pin(self, old: str, new: str, pin: Pin = Pin.USER, *, use_last_try: bool = False) -> None:
        """The new PIN's key goes encrypted and MACed under the old one's. Raises as `verify`."""
        key, fresh = self._guarded(old, pin, use_last_try=use_last_try), pin_key(self._engine, new)
        self._spend(pin, key, self._under(key, _INS_CHANGE, pin, fresh))
        self._wrong[pin].clear()

    def reset_user_pin(self, admin: str, new: str, *, use_last_try: bool = False) -> None:
        """Give a user who is locked out a new PIN, under the administrator's key. Raises as `verify`."""
        key, fresh = self._guarded(admin, Pin.ADMIN, use_last_try=use_last_try), pin_key(self._engine, new)
        self._spend(Pin.ADMIN, key, self._under(key, _INS_RESET, Pin.USER, fresh))
        self._wrong[Pin.USER].clear()

    def _guarded(self, digits: str, pin: Pin, *, use_last_try: bool) -> bytes:
        key = pin_key(self._engine, digits)
        left = self.tries(pin)
        if left == 0:
            raise status_error(SW.METHOD_BLOCKED, _INS_VERIFY)
        if key in self._wrong[pin]:
            raise RepeatedPinError("the card has refused this PIN already")
        if left <= TRIES_KEPT and not use_last_try:
            raise LastTryError(left)
        return key

    def _spend(self, pin: Pin, key: bytes, command: CommandApdu) -> None:
        """Send a command that costs a try when the PIN is wrong; the card counts all three kinds alike."""
        try:
            check(self._exchange(command), _INS_VERIFY)
        except PinWrongError:
            self._wrong[pin].add(key)
            raise

    def _under(self, key: bytes, ins: int, pin: Pin, fresh: bytes) -> CommandApdu:
        cipher = self._engine.sm4_ecb(key, fresh)
        header = bytes((0x84, ins, 0x01, pin.value))
        message = header + bytes((len(cipher) + _MAC_LENGTH,)) + cipher + b"\x80"
        message += bytes(-len(message) % _BLOCK)
        last = self._engine.sm4_cbc(key, self._challenge().ljust(_BLOCK, b"\0"), message)[-_BLOCK:]
        words = [int.from_bytes(last[i : i + 4], "big") for i in range(0, _BLOCK, 4)]
        mac = (words[0] ^ words[1] ^ words[2] ^ words[3]).to_bytes(_MAC_LENGTH, "big")
        return CommandApdu(0x84, ins, 0x01, pin.value, cipher + mac)

    # -- keys and certificates ------------------------------------------------------------------------------------

    def info(self) -> PkiInfo:
        """Free to read, no PIN needed."""
        keys = {use: self._public_key_if_any(use) for use in KeyUse}
        return PkiInfo(
            self.tries(Pin.USER),
            self.tries(Pin.ADMIN),
            keys[KeyUse.SIGNING],
            keys[KeyUse.ENCRYPTION],
            self.read_certificate(KeyUse.SIGNING),
            self.read_certificate(KeyUse.ENCRYPTION),
        )

    def generate(self, use: KeyUse = KeyUse.SIGNING) -> bytes:
        """Make a key pair on the card (administrator verified) and export its public key, 04 || X || Y."""
        self._send(CommandApdu(0x80, 0x40, 0x00, 0x00, _pair(use)))
        return self.public_key(use)

    def public_key(self, use: KeyUse = KeyUse.SIGNING) -> bytes:
        """Raises KeyNotFoundError where there is no pair, CardDataError for a point off the curve."""
        self._send(CommandApdu(0x80, 0xC9, 0x82, 0x00, _pair(use)))
        # Writers ask for one byte more than there is; a T=0 card corrects that with 6C41.
        point = self._send(CommandApdu(0x80, 0xC9, 0x82, 0x80, b"", 0x41)).data
        try:
            self._engine.sm2_verify(point, b"", bytes(64))
        except ValueError:
            raise CardDataError("the card's public key is no point of the curve") from None
        return point

    def _public_key_if_any(self, use: KeyUse) -> bytes | None:
        try:
            return self.public_key(use)
        except StatusWordError as refused:
            if refused.sw != SW.KEY_NOT_FOUND:
                raise
            return None

    def import_encryption_key(self, envelope: bytes, public: bytes, wrapped_private: bytes) -> None:
        """Take over the pair the CA keeps a copy of (administrator verified).

        `envelope` is a session key SM2-encrypted to the card's signing key, 04 || C1 || C3 || C2; `wrapped_private`
        the private number under that key (SM4-ECB).
        """
        session_key = self._decipher(KeyUse.SIGNING, envelope)
        if len(session_key) != _KEY_LENGTH:
            raise CardDataError("the envelope holds no SM4 key")
        use = KeyUse.ENCRYPTION
        self._send(CommandApdu(0x80, 0x4A, 0x02, 0x10, encode([Tlv(_TAG_CIPHER, session_key)])))
        point = encode([Tlv(_TAG_PUBLIC, _fid(use.public_fid)), Tlv(_TAG_POINT, public[1:])])
        self._send(CommandApdu(0x80, 0xC2, 0x40, 0x00, point))
        number = encode([Tlv(_TAG_PRIVATE, _fid(use.private_fid)), Tlv(_TAG_NUMBER, wrapped_private)])
        self._send(CommandApdu(0x80, 0xC2, 0xC0, 0x01, number))

    def read_certificate(self, use: KeyUse = KeyUse.SIGNING) -> bytes:
        """The DER bytes without the file's padding; empty where none was written. Raises CardDataError."""
        self._send(CommandApdu(0x00, 0xA4, 0x02, 0x00, _fid(use.certificate_fid)))
        head = self._read(0, 4)
        if not head.strip(b"\0") or not head.strip(b"\xff"):
            return b""
        if head[:2] != b"\x30\x82":
            raise CardDataError("the certificate file holds no certificate")
        length = 4 + int.from_bytes(head[2:], "big")
        if length > CERTIFICATE_MAX:
            raise CardDataError("the certificate is longer than its file")
        return b"".join(self._read(offset, min(SLICE, length - offset)) for offset in range(0, length, SLICE))

    def write_certificate(self, certificate: bytes, use: KeyUse = KeyUse.SIGNING) -> None:
        """Write in slices of 250 bytes and read back (administrator verified).

        The first slice goes last: until it is there the file does not claim to hold the new certificate. Raises
        ValueError for what is no DER certificate, CardDataError when the card holds something else afterwards.
        """
        if certificate[:2] != b"\x30\x82" or 4 + int.from_bytes(certificate[2:4], "big") != len(certificate):
            raise ValueError("not a DER certificate of at least 256 bytes")
        if len(certificate) > CERTIFICATE_MAX:
            raise ValueError(f"a certificate has at most {CERTIFICATE_MAX} bytes here")
        self._send(CommandApdu(0x00, 0xA4, 0x02, 0x00, _fid(use.certificate_fid)))
        self._write(0, bytes(4))
        for offset in reversed(range(0, len(certificate), SLICE)):
            self._write(offset, certificate[offset : offset + SLICE])
        if self.read_certificate(use) != certificate:
            raise CardDataError("the card holds another certificate than was written")

    # -- signing and deciphering ----------------------------------------------------------------------------------

    def sign(self, message: bytes) -> bytes:
        """r || s over `message` with the usual signer id (user verified), checked before it is handed out.

        Raises CardNotGenuineError when the card's signature does not fit its own public key.
        """
        public = self.public_key(KeyUse.SIGNING)
        digest = message_digest(self._engine, public, message)
        signature = self._send(CommandApdu(0x00, 0x2A, 0x9E, 0x9A, digest, 64)).data
        if not self._engine.sm2_verify(public, message, signature):
            raise CardNotGenuineError("the card's signature does not fit its public key")
        return signature

    def open_envelope(self, envelope: bytes) -> bytes:
        """The content of a digital envelope (数字信封) to the card's encryption key (user verified).

        Raises CardDataError for a malformed or altered envelope.
        """
        parsed = Envelope.from_bytes(envelope)
        key = self._decipher(KeyUse.ENCRYPTION, parsed.wrapped_key)
        try:
            return parsed.open(self._engine, key)
        except (AuthenticationFailed, ValueError):
            raise CardDataError("the envelope was altered") from None

    # -- helpers --------------------------------------------------------------------------------------------------

    def _decipher(self, use: KeyUse, cipher: bytes) -> bytes:
        """`cipher` is 04 || C1 || C3 || C2; the card takes it without the 04."""
        data = encode([Tlv(_TAG_PRIVATE, _fid(use.private_fid))])
        body = cipher[1:]
        # Two length bytes even for short values, as seen: C1 82 00 70.
        data += bytes((_TAG_CIPHER, 0x82)) + len(body).to_bytes(2, "big") + body
        return self._send(CommandApdu(0x80, 0x4E, 0x00, 0x01, data, 256)).data

    def _exchange(self, command: CommandApdu) -> ResponseApdu:
        return transceive(self._channel, command)

    def _send(self, command: CommandApdu) -> ResponseApdu:
        return check(self._exchange(command), command.ins)

    def _challenge(self) -> bytes:
        return self._send(CommandApdu(0x00, 0x84, 0x00, 0x00, b"", 8)).data

    def _read(self, offset: int, length: int) -> bytes:
        return self._send(CommandApdu(0x00, 0xB0, offset >> 8, offset & 0xFF, b"", length)).data

    def _write(self, offset: int, data: bytes) -> None:
        self._send(CommandApdu(0x00, 0xD6, offset >> 8, offset & 0xFF, data))


def pin_key(engine: Engine, digits: str) -> bytes:
    """First 16 bytes of SM3 over the packed-BCD PIN. Raises CodecError for what is no PIN."""
    return engine.sm3(encode_pin(digits))[:_KEY_LENGTH]


def _fid(fid: int) -> bytes:
    return fid.to_bytes(2, "big")


def _pair(use: KeyUse) -> bytes:
    return encode([Tlv(_TAG_PUBLIC, _fid(use.public_fid)), Tlv(_TAG_PRIVATE, _fid(use.private_fid))])
