"""The certificate application SS.CERT.ADF1 in its environment PKI.社会保障 (card_digest.md 7.2, personalization.md 11).

Where the sources are silent the coding is ours and stands in docs/card-applications.md: signing is PSO COMPUTE
DIGITAL SIGNATURE over e, deciphering the observed 804E with the encryption key, and a PIN changes under its own key.
"""

from __future__ import annotations

from apdu.errors import DecodingError
from apdu.tlv import parse
from hsm.primitives import AuthenticationFailed
from simulators.apps import sm2
from simulators.apps.neighbour import AppCommand, Neighbour, Services, lc, le, p1p2, read_slice, tlv
from simulators.apps.state import KeyPair, PinState, PkiState
from simulators.card import crypto
from simulators.card.crypto import Algorithm
from simulators.card.frame import SW, Frame, Refused, require, tries_left, wrong_le

ENVIRONMENT_NAME = b"PKI." + "社会保障".encode("gbk")
APPLICATION_NAME = b"SS.CERT.ADF1"
FID_SIGNING, FID_ENCRYPTION = (0x0012, 0x0013), (0x0014, 0x0015)
FID_SIGNING_CERTIFICATE, FID_ENCRYPTION_CERTIFICATE = 0x0018, 0x0019
FILES = frozenset({*FID_SIGNING, *FID_ENCRYPTION, FID_SIGNING_CERTIFICATE, FID_ENCRYPTION_CERTIFICATE})
CERTIFICATE_SIZE = 2048
P2_USER, P2_ADMIN = 0x81, 0x00
CHALLENGE_LENGTH = 8
BLOCK = 16
MAC_LENGTH = 4
TAG_PUBLIC, TAG_CIPHER, TAG_PRIVATE, TAG_POINT, TAG_NUMBER = 0xC0, 0xC1, 0xC2, 0xCA, 0xCB


def pin_key(digits: str) -> bytes:
    """First 16 bytes of SM3 over the packed-BCD PIN."""
    return sm2.engine().sm3(bytes.fromhex(digits + "F" * (len(digits) % 2)))[:BLOCK]


class CertificateEnvironment(Neighbour):
    """The DDF: it only names its algorithm."""

    def __init__(self) -> None:
        super().__init__(ENVIRONMENT_NAME)
        self.commands = {(0x00, 0x84): AppCommand(self.get_challenge, p1p2(0, 0), le(4, 8), is_outgoing=True)}

    def fci(self) -> bytes:
        algorithm = tlv(0x9F0C, tlv(0x86, bytes((Algorithm.SM4,))))
        return tlv(0x6F, tlv(0x84, self.name) + tlv(0xA5, algorithm))


class CertificateApplication(Neighbour):
    """Keys, certificates, user PIN and administrator PIN. What was verified is forgotten at SELECT and reset."""

    def __init__(self, state: PkiState) -> None:
        super().__init__(APPLICATION_NAME)
        self.state = state
        self._ef = 0
        self._verified: set[int] = set()
        self._export = b""
        self._session_key = b""
        self._import = b""
        pin = _is_pin
        self.commands = {
            (0x00, 0x84): AppCommand(self.get_challenge, p1p2(0, 0), le(4, CHALLENGE_LENGTH, 16), is_outgoing=True),
            (0x00, 0x20): AppCommand(self.verify, pin, lc(0, BLOCK)),
            (0x84, 0x5E): AppCommand(self.change_pin, pin, lc(BLOCK + MAC_LENGTH)),
            (0x84, 0x2C): AppCommand(self.reset_user_pin, p1p2(1, P2_USER), lc(BLOCK + MAC_LENGTH)),
            (0x80, 0x40): AppCommand(self.generate, p1p2(0, 0), lc(8)),
            (0x80, 0xC9): AppCommand(self.choose_export, p1p2(0x82, 0x00), lc(8)),
            (0x80, 0xCA): AppCommand(self.export, p1p2(0x82, 0x80), is_outgoing=True),
            (0x80, 0x4E): AppCommand(self.decipher, p1p2(0, 1), lambda f: bool(f.data)),
            (0x80, 0x4A): AppCommand(self.take_session_key, p1p2(2, 0x10), lc(2 + BLOCK)),
            (0x80, 0xC2): AppCommand(self.take_key_part, lambda f: (f.p1, f.p2) in ((0x40, 0), (0xC0, 1)), _has_data),
            (0x00, 0x2A): AppCommand(self.sign, p1p2(0x9E, 0x9A), lc(32)),
            (0x00, 0xB0): AppCommand(self.read_binary, lambda f: not f.p1 & 0x80, is_outgoing=True),
            (0x00, 0xD6): AppCommand(self.update_binary, lambda f: not f.p1 & 0x80, _has_data),
        }

    def fci(self) -> bytes:
        return tlv(0x6F, tlv(0x84, self.name))

    def select(self) -> bytes:
        self._ef, self._export, self._session_key, self._import = 0, b"", b"", b""
        self._verified.clear()
        return super().select()

    def select_file(self, fid: int) -> bytes:
        require(fid in FILES, SW.FILE_NOT_FOUND)
        self._ef = fid
        return b""

    def execute(self, services: Services, frame: Frame) -> tuple[bytes, bool]:
        """The export command shares INS C9 between its two steps, the second of which brings no data."""
        if (frame.cla, frame.ins, frame.p1, frame.p2) == (0x80, 0xC9, 0x82, 0x80):
            frame.ins = 0xCA
        return super().execute(services, frame)

    # ---- PINs

    def _pin(self, p2: int) -> PinState:
        return self.state.user if p2 == P2_USER else self.state.admin

    def verify(self, services: Services, frame: Frame) -> bytes:
        """SM4 of the challenge under the PIN key; without data it tells the tries that are left."""
        pin = self._pin(frame.p2)
        require(pin.retry_left > 0, SW.LOCKED)
        if not frame.data:
            raise tries_left(pin.retry_left)
        expected = crypto.ecb(Algorithm.SM4, pin.key, self.take_challenge().ljust(BLOCK, b"\0"))
        is_right = crypto.is_equal(expected, frame.data)
        self._count(services, frame.p2, pin, is_right=is_right)
        if not is_right:
            raise tries_left(pin.retry_left)
        return b""

    def _count(self, services: Services, p2: int, pin: PinState, *, is_right: bool) -> None:
        services.changed = True
        pin.retry_left = pin.retry_max if is_right else pin.retry_left - 1
        if is_right:
            self._verified.add(p2)
        else:
            self._verified.discard(p2)

    def change_pin(self, services: Services, frame: Frame) -> bytes:
        """The new PIN key, encrypted and MACed under the present one; a wrong MAC costs a try."""
        pin = self._pin(frame.p2)
        require(pin.retry_left > 0, SW.LOCKED)
        is_right = self._is_mac_right(pin.key, frame)
        self._count(services, frame.p2, pin, is_right=is_right)
        if not is_right:
            raise tries_left(pin.retry_left)
        pin.key = crypto.ecb(Algorithm.SM4, pin.key, frame.data[:BLOCK], decrypt=True)
        return b""

    def reset_user_pin(self, services: Services, frame: Frame) -> bytes:
        """As `change_pin`, by the administrator and under his key; the user's tries start anew."""
        admin, user = self.state.admin, self.state.user
        require(admin.retry_left > 0, SW.LOCKED)
        is_right = self._is_mac_right(admin.key, frame)
        self._count(services, P2_ADMIN, admin, is_right=is_right)
        if not is_right:
            raise tries_left(admin.retry_left)
        user.key = crypto.ecb(Algorithm.SM4, admin.key, frame.data[:BLOCK], decrypt=True)
        user.retry_left = user.retry_max
        self._verified.discard(P2_USER)
        return b""

    def _is_mac_right(self, key: bytes, frame: Frame) -> bool:
        message = frame.header + frame.data[:-MAC_LENGTH]
        expected = crypto.mac(Algorithm.SM4, key, message, self.take_challenge())
        return crypto.is_equal(expected, frame.data[-MAC_LENGTH:])

    def _require(self, *allowed: int) -> None:
        require(any(p2 in self._verified for p2 in allowed), SW.ACCESS_DENIED)

    # ---- keys

    def _pair(self, public: int | None, private: int | None) -> KeyPair:
        """The key pair these file identifiers name, one of which may be left out."""
        pairs = ((FID_SIGNING, self.state.signing), (FID_ENCRYPTION, self.state.encryption))
        for (own_public, own_private), pair in pairs:
            if public in (None, own_public) and private in (None, own_private):
                return pair
        raise Refused(SW.FILE_NOT_FOUND)

    def generate(self, services: Services, frame: Frame) -> bytes:
        fields = _fields(frame.data, TAG_PUBLIC, TAG_PRIVATE)
        pair = self._pair(_fid(fields[TAG_PUBLIC]), _fid(fields[TAG_PRIVATE]))
        self._require(P2_ADMIN)
        pair.private, pair.public = sm2.generate()
        services.changed = True
        return b""

    def choose_export(self, services: Services, frame: Frame) -> bytes:
        fields = _fields(frame.data, TAG_PUBLIC, TAG_PRIVATE)
        pair = self._pair(_fid(fields[TAG_PUBLIC]), _fid(fields[TAG_PRIVATE]))
        require(bool(pair.public), SW.KEY_NOT_FOUND)
        self._export = pair.public
        return b""

    def export(self, services: Services, frame: Frame) -> bytes:
        require(bool(self._export), SW.CONDITIONS)
        if frame.le != len(self._export):
            raise wrong_le(len(self._export))
        return self._export

    def decipher(self, services: Services, frame: Frame) -> bytes:
        """C2 names the private key, C1 is X || Y || C3 || C2. The signing key only opens the import envelope."""
        fields = _fields(frame.data, TAG_PRIVATE, TAG_CIPHER)
        fid = _fid(fields[TAG_PRIVATE])
        pair = self._pair(None, fid)
        self._require(P2_USER if fid in FID_ENCRYPTION else P2_ADMIN)
        require(bool(pair.private), SW.KEY_NOT_FOUND)
        try:
            return sm2.engine().sm2_decrypt(pair.private, b"\x04" + fields[TAG_CIPHER])
        except (AuthenticationFailed, ValueError):
            raise Refused(SW.BAD_DATA) from None

    def take_session_key(self, services: Services, frame: Frame) -> bytes:
        self._require(P2_ADMIN)
        key = _fields(frame.data, TAG_CIPHER)[TAG_CIPHER]
        require(len(key) == BLOCK, SW.BAD_DATA)
        self._session_key = key
        return b""

    def take_key_part(self, services: Services, frame: Frame) -> bytes:
        """Import of the encryption pair: the point waits until the number that fits it arrives, then both are kept."""
        self._require(P2_ADMIN)
        if frame.p1 == 0x40:
            fields = _fields(frame.data, TAG_PUBLIC, TAG_POINT)
            require(_fid(fields[TAG_PUBLIC]) == FID_ENCRYPTION[0], SW.FILE_NOT_FOUND)
            self._import = b"\x04" + fields[TAG_POINT]
            return b""
        fields = _fields(frame.data, TAG_PRIVATE, TAG_NUMBER)
        require(_fid(fields[TAG_PRIVATE]) == FID_ENCRYPTION[1], SW.FILE_NOT_FOUND)
        require(bool(self._session_key and self._import), SW.CONDITIONS)
        require(len(fields[TAG_NUMBER]) == sm2.SIZE, SW.BAD_DATA)
        private = crypto.ecb(Algorithm.SM4, self._session_key, fields[TAG_NUMBER], decrypt=True)
        require(0 < int.from_bytes(private, "big") < sm2.N - 1, SW.BAD_DATA)
        require(sm2.public_key(private) == self._import, SW.BAD_DATA)
        self.state.encryption.public, self.state.encryption.private = self._import, private
        self._session_key = self._import = b""
        services.changed = True
        return b""

    def sign(self, services: Services, frame: Frame) -> bytes:
        self._require(P2_USER)
        require(bool(self.state.signing.private), SW.KEY_NOT_FOUND)
        return sm2.sign_digest(self.state.signing.private, frame.data)

    # ---- certificates

    def _certificate(self) -> str:
        require(self._ef != 0, SW.NO_CURRENT_EF)
        names = {
            FID_SIGNING_CERTIFICATE: "signing_certificate",
            FID_ENCRYPTION_CERTIFICATE: "encryption_certificate",
        }
        require(self._ef in names, SW.WRONG_STRUCTURE)
        return names[self._ef]

    def read_binary(self, services: Services, frame: Frame) -> bytes:
        return read_slice(frame, getattr(self.state, self._certificate()), frame.p1 << 8 | frame.p2)

    def update_binary(self, services: Services, frame: Frame) -> bytes:
        name, offset = self._certificate(), frame.p1 << 8 | frame.p2
        self._require(P2_ADMIN)
        content: bytes = getattr(self.state, name)
        require(offset + len(frame.data) <= len(content), SW.WRONG_OFFSET)
        setattr(self.state, name, content[:offset] + frame.data + content[offset + len(frame.data) :])
        services.changed = True
        return b""


def _fields(data: bytes, *tags: int) -> dict[int, bytes]:
    """The objects of a command by tag, exactly these. Raises 6A80."""
    try:
        found = {item.tag: item.value for item in parse(data)}
    except DecodingError:
        raise Refused(SW.BAD_DATA) from None
    require(found.keys() == set(tags), SW.BAD_DATA)
    return found


def _fid(value: bytes) -> int:
    require(len(value) == 2, SW.BAD_DATA)
    return int.from_bytes(value, "big")


def _is_pin(frame: Frame) -> bool:
    return frame.p1 == 1 and frame.p2 in (P2_USER, P2_ADMIN)


def _has_data(frame: Frame) -> bool:
    return bool(frame.data)
