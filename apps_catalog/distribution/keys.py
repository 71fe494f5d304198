"""SM2 with SM3 as a key type of securesystemslib, which python-tuf verifies and signs with.

    {"keytype": "sm2", "scheme": "sm2-sm3", "keyval": {"public": "04…"}}

`public` is 04 || X || Y in hex, a signature r || s in hex over the canonical JSON, with the signer id of GM/T 0009; the
key id is the SHA-256 of the key's canonical JSON (TUF specification 4.2).
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, Self

from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import KEY_FOR_TYPE_AND_SCHEME, Key, SecretsHandler, Signature, Signer

from hsm.api import BadInputError, KeyRef, KeyService
from hsm.primitives import DEFAULT_USER_ID, default_engine
from hsm.primitives.sm2_forms import check_public

KEY_TYPE: Final = "sm2"
SCHEME: Final = "sm2-sm3"
HOLDER: Final = "x-onecard-holder"
"""Field of a key beside its value: whose it is, as named in `roles.toml`."""


class Sm2Key(Key):
    """An SM2 public key in TUF metadata. Equality and hash come from `Key`."""

    @classmethod
    def of(cls, public: bytes, holder: str) -> Self:
        """From 04 || X || Y. Raises BadInputError for a point off the curve."""
        keyval = {"public": check_public(public).hex()}
        return cls(_key_id(keyval), KEY_TYPE, SCHEME, keyval, {HOLDER: holder})

    @classmethod
    def from_dict(cls, keyid: str, key_dict: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what is no such key."""
        keytype, scheme, keyval = key_dict.pop("keytype"), key_dict.pop("scheme"), key_dict.pop("keyval")
        check_public(bytes.fromhex(keyval["public"]))
        return cls(keyid, keytype, scheme, keyval, key_dict)

    @property
    def holder(self) -> str:
        return str(self.unrecognized_fields.get(HOLDER, ""))

    @property
    def own_id(self) -> str:
        """The id this key must have; a file may name it otherwise."""
        return _key_id(self.keyval)

    def to_dict(self) -> dict[str, Any]:
        return {
            "keytype": self.keytype,
            "scheme": self.scheme,
            "keyval": self.keyval,
            **self.unrecognized_fields,
        }

    def verify_signature(self, signature: Signature, data: bytes) -> None:
        try:
            public, raw = bytes.fromhex(self.keyval["public"]), bytes.fromhex(signature.signature)
            is_good = default_engine().sm2_verify(public, data, raw, user_id=DEFAULT_USER_ID)
        except (BadInputError, KeyError, TypeError, ValueError) as error:
            raise VerificationError(f"key {self.keyid} or its signature is malformed") from error
        if not is_good:
            raise UnverifiedSignatureError(f"signature of {self.keyid} does not verify")


class ServiceSigner(Signer):
    """Signs with a pair that stays in a key service."""

    def __init__(self, service: KeyService, key: KeyRef, holder: str) -> None:
        self.service = service
        self.key = key
        self._public = Sm2Key.of(service.public_key(key), holder)

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> ServiceSigner:
        """Always raises ValueError: a key service is opened by the composition root, not named by a URI."""
        raise ValueError("a key of a key service has no URI")

    @property
    def public_key(self) -> Sm2Key:
        return self._public

    def sign(self, payload: bytes) -> Signature:
        return Signature(self._public.keyid, self.service.sign(self.key, payload, user_id=DEFAULT_USER_ID).hex())


def _key_id(keyval: dict[str, Any]) -> str:
    canonical = encode_canonical({"keytype": KEY_TYPE, "scheme": SCHEME, "keyval": keyval})
    assert canonical is not None
    return hashlib.sha256(canonical.encode()).hexdigest()


def register() -> None:
    """Let every user of securesystemslib in this process read and verify SM2 keys."""
    KEY_FOR_TYPE_AND_SCHEME[(KEY_TYPE, SCHEME)] = Sm2Key


register()
