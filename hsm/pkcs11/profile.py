"""Profile of a PKCS#11 token: what differs from one product to the next, read from TOML (docs/keys.md)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hsm.api import Algorithm
from hsm.pkcs11.constants import CKK, CKM
from hsm.profile_table import MAX_FILE, ProfileError, ProfileTable, SecretReference

_MAX_CACHED = 65536
_MAX_CURVE = 64
_SM2_CURVE = "06082A811CCF5501822D"


class PrivateKeys(StrEnum):
    """Where private keys of pairs live: blobs in the key table, or objects of the token found by CKA_ID."""

    WRAPPED = "wrapped"
    TOKEN = "token"  # noqa: S105


class SignatureForm(StrEnum):
    """How a token writes an SM2 signature."""

    RAW = "raw"
    DER = "der"


class CiphertextForm(StrEnum):
    """How a token reads an SM2 ciphertext; the raw ones begin with 04."""

    C1C3C2 = "c1c3c2"
    C1C2C3 = "c1c2c3"
    DER = "der"


@dataclass(frozen=True, slots=True)
class CipherMechanisms:
    """Numbers of one block cipher. Without `derive` keys are derived by value in this process."""

    key_type: int
    key_gen: int
    ecb: int
    cbc: int
    derive: int | None = None
    needs_length: bool = False
    """Whether CKA_VALUE_LEN must be given where a key is generated or derived."""


@dataclass(frozen=True, slots=True)
class Sm2Mechanisms:
    """Numbers and forms of SM2. `sign` takes the 32-byte digest SM3(Z || M); without `decrypt` there is none."""

    sign: int
    decrypt: int | None = None
    key_type: int = CKK.EC
    key_pair_gen: int = CKM.EC_KEY_PAIR_GEN
    curve: bytes = bytes.fromhex(_SM2_CURVE)
    signature: SignatureForm = SignatureForm.RAW
    ciphertext: CiphertextForm = CiphertextForm.C1C3C2


TDES_MECHANISMS = CipherMechanisms(
    CKK.DES3, CKM.DES3_KEY_GEN, CKM.DES3_ECB, CKM.DES3_CBC, derive=CKM.DES3_ECB_ENCRYPT_DATA
)


@dataclass(frozen=True, slots=True)
class Profile:
    """One token and how to speak to it."""

    name: str
    library: Path
    token_label: str
    token_serial: str
    pin: SecretReference
    wrapping_label: str
    secret_wrap: int = CKM.AES_KEY_WRAP
    private_wrap: int = CKM.AES_KEY_WRAP_PAD
    private_keys: PrivateKeys = PrivateKeys.WRAPPED
    cached_keys: int = 128
    algorithms: frozenset[Algorithm] = frozenset(Algorithm)
    sm4: CipherMechanisms | None = None
    sm2: Sm2Mechanisms | None = None


def load_profile(path: Path) -> Profile:
    """Raises ProfileError. A relative PIN file lies beside the profile."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
        return parse_profile(content, path.parent)
    except OSError as problem:
        raise ProfileError(f"{path.name}: {problem.strerror or 'cannot be read'}") from None
    except ProfileError as problem:
        raise ProfileError(f"{path.name}: {problem}") from None


def parse_profile(content: bytes, folder: Path) -> Profile:
    """The profile written in TOML; raises ProfileError."""
    top = _Table.parse(content)
    token, wrapping = top.table("token"), top.table("wrapping")
    if not token.has("label") and not token.has("serial"):
        raise ProfileError("token: label or serial is missing")
    profile = Profile(
        name=top.text("name"),
        library=_library(top),
        token_label=token.text("label", ""),
        token_serial=token.text("serial", ""),
        pin=top.secret("pin", folder),
        wrapping_label=wrapping.text("label"),
        secret_wrap=wrapping.mechanism("mechanism", CKM.AES_KEY_WRAP),
        private_wrap=wrapping.mechanism("private_mechanism", CKM.AES_KEY_WRAP_PAD),
        private_keys=top.choice("private_keys", PrivateKeys.WRAPPED),
        cached_keys=top.number("cached_keys", 1, _MAX_CACHED, default=128),
        algorithms=_algorithms(top),
        sm4=_sm4(top.table("sm4")) if top.has("sm4") else None,
        sm2=_sm2(top.table("sm2")) if top.has("sm2") else None,
    )
    for table in (top, token, wrapping):
        table.end()
    return profile


class _Table(ProfileTable):
    """Also takes mechanisms: a number, or a standard one by its name."""

    def mechanism(self, name: str, default: int | None = None) -> int:
        if not isinstance(self._values.get(name), str):
            return self.number(name, default=default)
        value = self.text(name)
        standard = {f"CKM_{member.name}": member.value for member in CKM}
        if value not in standard:
            self.wrong(name, "no mechanism of that name: give its number")
        return standard[value]

    def optional_mechanism(self, name: str) -> int | None:
        return self.mechanism(name) if self.has(name) else None


def _library(top: _Table) -> Path:
    library = Path(top.text("library"))
    if not library.is_absolute():
        # A bare name would be looked up wherever the loader is told to look.
        top.wrong("library", "must be an absolute path")
    return library


def _algorithms(top: _Table) -> frozenset[Algorithm]:
    names = top.take("algorithms", list, [str(algorithm) for algorithm in Algorithm])
    if not names or any(name not in list(Algorithm) for name in names):
        top.wrong("algorithms", f"must be some of {', '.join(Algorithm)}")
    return frozenset(map(Algorithm, names))


def _sm4(table: _Table) -> CipherMechanisms:
    mechanisms = CipherMechanisms(
        key_type=table.number("key_type"),
        key_gen=table.mechanism("key_gen"),
        ecb=table.mechanism("ecb"),
        cbc=table.mechanism("cbc"),
        derive=table.optional_mechanism("derive"),
        needs_length=table.take("needs_length", bool, False),
    )
    table.end()
    return mechanisms


def _sm2(table: _Table) -> Sm2Mechanisms:
    curve = table.text("curve", _SM2_CURVE)
    try:
        parameters = bytes.fromhex(curve)
    except ValueError:
        parameters = b""
    if not 1 <= len(parameters) <= _MAX_CURVE:
        table.wrong("curve", "must be CKA_EC_PARAMS in hex")
    mechanisms = Sm2Mechanisms(
        sign=table.mechanism("sign"),
        decrypt=table.optional_mechanism("decrypt"),
        key_type=table.number("key_type", default=CKK.EC),
        key_pair_gen=table.mechanism("key_pair_gen", CKM.EC_KEY_PAIR_GEN),
        curve=parameters,
        signature=table.choice("signature", SignatureForm.RAW),
        ciphertext=table.choice("ciphertext", CiphertextForm.C1C3C2),
    )
    table.end()
    return mechanisms
