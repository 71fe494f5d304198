"""Loading and setting up a PSAM (draft P9 §9.2 to §9.6): its issuer's acts, under the keys of a key service.

The PSAM's own control keys are diversified by the last eight bytes of its serial number; keys never leave the service.
"""

from __future__ import annotations

from dataclasses import dataclass

from apdu.channel import Channel, follow_up, transceive
from apdu.command import CommandApdu
from apdu.response import ResponseApdu
from apdu.sw import check
from cardlib.errors import CardDataError
from cardlib.psam import ENVIRONMENTS
from cardlib.spec.names import PSAM_AID
from hsm.api import Algorithm, CardAuthenticator, CardFactors, KeyRef
from hsm.psam_keys import PsamKeys

NATIONAL, PROVINCE, CITY = 0x11, 0x12, 0x13
"""Key files by the low byte of their FID (OPEN S7)."""
CONTROL_KEYS = {NATIONAL: "PSAM_K01", PROVINCE: "PSAM_K02", CITY: "PSAM_K03"}
ENVIRONMENT_KEY, APPLICATION_KEY = "PSAM_DDF", "PSAM_ADF"
KIDS = {ENVIRONMENT_KEY: 0x00, "PSAM_K01": 0x01, "PSAM_K02": 0x02, "PSAM_K03": 0x03, APPLICATION_KEY: 0x80}
_INFORMATION = {NATIONAL: 0x1A, PROVINCE: 0x1B, CITY: 0x1C}
_ALGORITHM_BYTES = {(Algorithm.TDES, 16): 0x00, (Algorithm.TDES, 8): 0x01, (Algorithm.SM4, 16): 0x03}
_SFI_PUBLIC, _SFI_TERMINAL, _SFI_COUNTER = 0x15, 0x16, 0x19
_ORIGINAL = bytes(8)
_P1_CREATE, _P1_CHANGE = 0x00, 0x01


@dataclass(frozen=True, slots=True)
class PsamKey:
    """A key record. `levels` diversifications (0 to 3) are left to the PSAM; a purchase key's `id` is its version."""

    type: int
    id: int
    levels: int
    length: int = 16
    file: int = NATIONAL

    @property
    def usage(self) -> int:
        return self.levels << 5 | self.type


@dataclass(frozen=True, slots=True)
class PsamInformation:
    """Files 0015, 0016 and 0019."""

    serial: str
    terminal_number: str
    transaction_number: int


class PsamManagement:
    """One environment of a powered PSAM behind `channel`; `authenticator` proves the control keys."""

    def __init__(
        self,
        channel: Channel,
        algorithm: Algorithm,
        authenticator: CardAuthenticator,
        *,
        region: str,
        protocol: str = "T=0",
    ) -> None:
        self._channel = follow_up(channel, protocol)
        self._algorithm = algorithm
        self._authenticator = authenticator
        self._region = region
        self._proved: set[str] = set()
        self.information = self._open()

    def initialize_environment(self, province: str) -> None:
        """环境初始化 with the first two digits of the card's region; closes what was open in the PSAM."""
        self._send(CommandApdu(0xBF, 0xEC, 0x00, 0x00, bytes.fromhex(province)))

    def authenticate(self, name: str) -> None:
        """EXTERNAL AUTHENTICATION with a control key of `KIDS`. Each has three tries: a refusal is not repeated.

        Raises AuthenticationFailedError, KeyLockedError.
        """
        challenge = self._send(CommandApdu(0x00, 0x84, 0x00, 0x00, b"", 8)).data
        key = KeyRef(name, self._algorithm)
        value = self._authenticator.authentication_value(key, self._factors, challenge, _ORIGINAL)
        self._send(CommandApdu(0x00, 0x82, 0x00, KIDS[name], value + _ORIGINAL))
        self._proved.add(name)

    def create_key(self, key: PsamKey, root: KeyRef, keys: PsamKeys) -> None:
        """Put `root` into the PSAM as `key`. Raises StatusWordError: 6A80 when it is there, 6A84 for a full file."""
        header = bytes((key.usage, key.id, 0x00, _ALGORITHM_BYTES[self._algorithm, key.length])) + bytes(4)
        self._write(_P1_CREATE, key, root, keys, header)

    def change_key(self, key: PsamKey, root: KeyRef, keys: PsamKeys) -> None:
        """Replace the value of a record the file has. Raises StatusWordError, 6A83 without such a record."""
        self._write(_P1_CHANGE, key, root, keys, bytes((key.usage, key.id, 0x00)))

    def set_information(self, file: int, raw: bytes) -> None:
        """File 001A, 001B or 001C: purchase key index, authentication key version, start and expiry (cn8 each)."""
        if len(raw) != 10:
            raise ValueError("application information has ten bytes")
        self._prove(CONTROL_KEYS[file])
        self._send(CommandApdu(0x00, 0xD6, 0x80 | _INFORMATION[file], 0x00, raw))

    def _write(self, p1: int, key: PsamKey, root: KeyRef, keys: PsamKeys, record_header: bytes) -> None:
        self._prove(CONTROL_KEYS[key.file])
        challenge = self._send(CommandApdu(0x00, 0x84, 0x00, 0x00, b"", 4)).data
        data = keys.psam_key_data(
            root,
            self._region,
            key.levels,
            record_header,
            under=KeyRef(APPLICATION_KEY, self._algorithm),
            psam=self._factors,
            challenge=challenge,
            header=bytes((0x84, 0xD4, p1, key.file)),
        )
        self._send(CommandApdu(0x84, 0xD4, p1, key.file, data))

    def _prove(self, name: str) -> None:
        if name not in self._proved:
            self.authenticate(name)

    @property
    def _factors(self) -> CardFactors:
        return CardFactors(self._region, bytes.fromhex(self.information.serial)[2:])

    def _open(self) -> PsamInformation:
        """Select the environment, read what it tells, select the application."""
        self._send(CommandApdu(0x00, 0xA4, 0x04, 0x00, ENVIRONMENTS[self._algorithm]))
        public = self._read(_SFI_PUBLIC, 15)
        terminal = self._read(_SFI_TERMINAL, 6)
        self._send(CommandApdu(0x00, 0xA4, 0x04, 0x00, PSAM_AID))
        number = int.from_bytes(self._read(_SFI_COUNTER, 4), "big")
        return PsamInformation(public[1:11].hex(), terminal.hex(), number)

    def _read(self, sfi: int, length: int) -> bytes:
        data = self._send(CommandApdu(0x00, 0xB0, 0x80 | sfi, 0x00, b"", length)).data
        if len(data) != length:
            raise CardDataError(f"file {sfi:02X} of the PSAM is short")
        return data

    def _send(self, command: CommandApdu) -> ResponseApdu:
        return check(transceive(self._channel, command), command.ins)
