"""The phone's part in an offline transit code: it holds the user's SM2 key and finishes the code at the moment of use.

Written from the layout table alone, without the code that gates check with. Nothing here needs a network.
"""

from __future__ import annotations

from typing import ClassVar

from cardlib.spec.transit_code import CodeProfile, code_profile, transit_code_spec
from hsm.primitives import compress, default_engine

_LENGTH_AT = slice(1, 3)


class WalletCodeError(ValueError):
    """What the phone was given is no authorisation, or the moment cannot be written; nothing was signed."""

    failure: ClassVar[str] = "INPUT_INVALID"


def public_key(private: bytes) -> bytes:
    """The user's public key as field 10 carries it: the compressed point, 33 bytes."""
    return compress(default_engine().sm2_public_key(private))


def finish(authorisation: bytes, generated_at: int, private: bytes, profile: CodeProfile | None = None) -> bytes:
    """The code to show: `authorisation` (everything before field 15), the moment in Unix seconds, the signature.

    Raises WalletCodeError.
    """
    spec = transit_code_spec()
    epoch = (profile or code_profile("a_c")).generation_epoch
    tail = spec.field("generated_at").length + spec.field("user_signature").length
    total = len(authorisation) + tail
    if (
        not spec.min_length <= total <= spec.max_length
        or authorisation[0] != spec.version
        or int.from_bytes(authorisation[_LENGTH_AT], "big") != total - _LENGTH_AT.stop
    ):
        raise WalletCodeError("this is no authorisation for transit codes")
    try:
        moment = (generated_at - epoch).to_bytes(spec.field("generated_at").length, "big")
    except OverflowError as error:
        raise WalletCodeError(f"the moment {generated_at} cannot be written") from error
    signed = authorisation + moment
    return signed + bytes((spec.signature_tag,)) + default_engine().sm2_sign(private, signed, user_id=spec.user_id)
