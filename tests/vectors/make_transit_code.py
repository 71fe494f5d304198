"""Makes vectors_transit_code.json, the same every time: `python -m tests.vectors.make_transit_code > FILE`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.vectors.plain_transit_code import (
    CHINA,
    EPOCH,
    SKEW_S,
    USER_ID,
    N,
    Refused,
    datetime,
    point_of,
    public_of,
    sign,
    sm3,
)

NOW = int(datetime(2026, 11, 20, 8, 0, tzinfo=CHINA).timestamp())
DAY = 86_400


def key(name: str) -> int:
    return int.from_bytes(sm3(f"OneCard transit code vectors: {name}".encode()), "big") % (N - 2) + 1


KEYS = {name: key(name) for name in ("root 1", "root 2", "root 3", "forger", "issuer", "issuer 2", "user", "user 2")}


def anchor(index: int, name: str, not_after: str) -> dict[str, Any]:
    return {"index": index, "name": name, "public_key": public_of(KEYS[name]).hex().upper(), "not_after": not_after}


ANCHORS = {
    "format": "transit-anchors-1",
    "anchors": [
        anchor(1, "root 1", "2036-12-31"),
        anchor(2, "root 2", "2026-11-20"),
        anchor(3, "root 3", "2026-11-19"),
    ],
}


@dataclass(frozen=True)
class Recipe:
    """One code; every field can be made wrong, and each signature can be of any key or replaced."""

    profile: str = "a_c"
    version: int = 0x81
    header: str = "2401010000"
    root_index: int = 1
    root: str = "root 1"
    format: str = "12"
    cert_issuer: str = "99010001"
    expires: str = "1130"
    serial: str = "000001"
    algorithms: str = "040400"
    key_length: str = "21"
    issuer_key: str = "issuer"
    issuer_point: str = ""
    cert_signature: bytes | None = None
    payment_account: bytes = b"9901202600000001"
    card_account: str = "00009901000000001234"
    issuer: str = "99010001"
    platform: str = "99010000"
    account_type: int = 0x01
    limit: int = 2000
    user: str = "user"
    user_point: str = ""
    until: int = NOW + 7 * DAY
    validity: int = 60
    custom: bytes = b""
    custom_length: int | None = None
    issuer_signer: str = "issuer"
    issuer_signature: bytes | None = None
    issuer_tag: int = 0x15
    generated: int = NOW - 10
    user_signer: str = "user"
    user_signature: bytes | None = None
    user_tag: int = 0x15
    salt: bytes = b""

    def certificate(self) -> bytes:
        point = self.issuer_point or public_of(KEYS[self.issuer_key]).hex()
        signed = bytes.fromhex(
            self.format + self.cert_issuer + self.expires + self.serial + self.algorithms + self.key_length + point
        )
        signature = self.cert_signature or sign(KEYS[self.root], signed)
        return bytes.fromhex(self.header) + bytes([self.root_index]) + signed + signature

    def build(self) -> bytes:
        point = self.user_point or public_of(KEYS[self.user]).hex()
        fixed = (
            self.certificate()
            + self.payment_account.rjust(16, b"\0")
            + bytes.fromhex(self.card_account + self.issuer + self.platform)
            + bytes([self.account_type])
            + self.limit.to_bytes(3, "big")
            + bytes.fromhex(point)
            + (self.until - EPOCH[self.profile]).to_bytes(4, "big")
            + self.validity.to_bytes(2, "big")
        )
        length = len(self.custom) if self.custom_length is None else self.custom_length
        custom = bytes([length]) + self.custom
        if self.profile == "a_c":
            fixed, custom = fixed + custom, b""
        signature = self.issuer_signature or sign(KEYS[self.issuer_signer], fixed)
        body = fixed + bytes([self.issuer_tag]) + signature + custom + self.generated.to_bytes(4, "big")
        signed = bytes([self.version]) + (len(body) + 65).to_bytes(2, "big") + body
        signature = self.user_signature or sign(KEYS[self.user_signer], signed, self.salt)
        return signed + bytes([self.user_tag]) + signature


GOOD = Recipe()
CUSTOM = replace(GOOD, custom=bytes(range(32)))
B = replace(GOOD, profile="b", validity=30, custom=b"\x95ticket 1")
MONTH_END = int(datetime(2026, 11, 30, 23, 59, 59, tzinfo=CHINA).timestamp())
DAY_END = int(datetime(2026, 11, 20, 23, 59, 59, tzinfo=CHINA).timestamp())
ZERO = bytes(64)


def good(**changes: Any) -> bytes:
    return replace(GOOD, **changes).build()


def at(raw: bytes, offset: int, value: bytes) -> bytes:
    return raw[:offset] + value + raw[offset + len(value) :]


def off_curve(start: int) -> str:
    """A compressed form whose X no point has."""
    while True:
        try:
            point_of(bytes([2]) + start.to_bytes(32, "big"))
        except Refused:
            return f"02{start:064x}"
        start += 1


Row = dict[str, Any]


def row(name: str, code: bytes, expected: str = "", **more: Any) -> Row:
    """`expected` empty for a code that passes."""
    return {
        "id": name,
        "profile": more.get("profile", "a_c"),
        "now": more.get("now", NOW),
        "amount_fen": more.get("amount_fen", 300),
        **({"used": more["used"].hex().upper()} if "used" in more else {}),
        "expected": f"TRANSIT_CODE_{expected}" if expected else "pass",
        "code": code.hex().upper(),
    }


def passing() -> list[Row]:
    last_moment = replace(GOOD, expires="1126", generated=MONTH_END, until=MONTH_END + DAY)
    return [
        row("plain", GOOD.build()),
        row("custom-32", CUSTOM.build()),
        row("custom-1", good(custom=b"\xff")),
        row("profile-b", B.build(), profile="b"),
        row("profile-b-no-custom", replace(B, custom=b"").build(), profile="b"),
        row("short-payment-account", good(payment_account=b"42")),
        row("fare-at-the-limit", GOOD.build(), amount_fen=2000),
        row("made-at-the-allowed-skew", good(generated=NOW + SKEW_S)),
        row("last-second-of-validity", good(generated=NOW - 60)),
        row("validity-zero-same-second", good(generated=NOW, validity=0)),
        row("last-second-of-authorisation", good(until=NOW)),
        row("last-second-of-certificate", last_moment.build(), now=MONTH_END),
        row("last-second-of-root", good(root_index=2, root="root 2", generated=DAY_END), now=DAY_END),
        row("other-parameter", good(algorithms="040401")),
        row("another-code-was-used", GOOD.build(), used=good(generated=NOW - 11)),
    ]


def malformed() -> list[Row]:
    whole = GOOD.build()
    cases: dict[str, bytes] = {
        "empty": b"",
        "truncated-by-one": whole[:-1],
        "truncated-after-the-authorisation": whole[:263],
        "one-byte-appended": whole + b"\0",
        "one-byte-appended-and-counted": at(whole + b"\0", 1, (330).to_bytes(2, "big")),
        "data-length-too-long": at(whole, 1, (330).to_bytes(2, "big")),
        "custom-33": good(custom=bytes(33)),
        "custom-length-says-more": good(custom=b"abc", custom_length=4),
        "issuer-tag": good(issuer_tag=0x14),
        "user-tag": good(user_tag=0x00),
        "card-account-not-digits": good(card_account="0000990100000000123F"),
        "issuer-not-digits": good(issuer="9901000A", cert_issuer="9901000A"),
        "payment-account-not-printable": good(payment_account=b"99012026\n0000001"),
        "payment-account-empty": good(payment_account=b""),
        "certificate-month-13": good(expires="1330"),
        "user-key-uncompressed-mark": good(user_point="04" + public_of(KEYS["user"]).hex()[2:]),
        "user-key-off-the-curve": good(user_point=off_curve(5)),
        "user-key-x-not-reduced": good(user_point="02" + "FF" * 32),
        "issuer-key-off-the-curve": good(issuer_point=off_curve(7)),
        "profile-b-read-as-a-c": B.build(),
    }
    rows = [row(name, code, "MALFORMED") for name, code in cases.items()]
    rows.append(row("profile-a-c-read-as-b", CUSTOM.build(), "MALFORMED", profile="b"))
    rows.append(row("version-80", good(version=0x80), "VERSION"))
    rows.append(row("version-01", good(version=0x01), "VERSION"))
    return rows


def certificates() -> list[Row]:
    self_signed = replace(GOOD, root="issuer")
    first_after = MONTH_END + 1
    return [
        row("certificate-header", good(header="2501010000"), "CERTIFICATE"),
        row("certificate-service", good(header="2401020000"), "CERTIFICATE"),
        row("certificate-format", good(format="13"), "CERTIFICATE"),
        row("certificate-signature-algorithm", good(algorithms="010400"), "CERTIFICATE"),
        row("certificate-key-length", good(key_length="41"), "CERTIFICATE"),
        row(
            "certificate-expired",
            good(expires="1126", generated=first_after, until=first_after + DAY),
            "CERTIFICATE_EXPIRED",
            now=first_after,
        ),
        row("issuer-of-another-certificate", good(cert_issuer="99010002"), "ISSUER_MISMATCH"),
        row("root-unknown", good(root_index=9), "ROOT_UNKNOWN"),
        row("root-expired", good(root_index=3, root="root 3"), "ROOT_EXPIRED"),
        row("certificate-of-another-root", good(root="root 2"), "ISSUER_FORGED"),
        row("certificate-self-signed", self_signed.build(), "ISSUER_FORGED"),
        row("certificate-forged", good(root="forger", issuer_key="forger", issuer_signer="forger"), "ISSUER_FORGED"),
        row("certificate-unsigned", good(cert_signature=ZERO), "ISSUER_FORGED"),
    ]


def authorisations() -> list[Row]:
    other = sign(KEYS["issuer"], GOOD.build()[3:262])
    return [
        row("authorisation-expired", good(until=NOW - 1), "AUTHORISATION_EXPIRED"),
        row("authorisation-expired-b", replace(B, until=NOW - 1).build(), "AUTHORISATION_EXPIRED", profile="b"),
        row("issuer-signature-zero", good(issuer_signature=ZERO), "AUTHORISATION_FORGED"),
        row("issuer-signature-of-the-user", good(issuer_signer="user"), "AUTHORISATION_FORGED"),
        row("issuer-signature-of-another-issuer", good(issuer_signer="issuer 2"), "AUTHORISATION_FORGED"),
        row("issuer-signature-over-other-bytes", good(issuer_signature=other), "AUTHORISATION_FORGED"),
        row("limit-raised-after-signing", _resigned(155, b"\x0f\xff\xff"), "AUTHORISATION_FORGED"),
        row("user-key-exchanged", _resigned(158, public_of(KEYS["user 2"]), "user 2"), "AUTHORISATION_FORGED"),
        row("custom-changed-after-signing", _resigned(200, b"x", of=CUSTOM), "AUTHORISATION_FORGED"),
    ]


def _resigned(offset: int, value: bytes, user: str = "user", of: Recipe = GOOD) -> bytes:
    """A field changed under the issuer's signature, with a fresh signature of the user."""
    signed = at(of.build(), offset, value)[:-65]
    return signed + b"\x15" + sign(KEYS[user], signed)


def uses() -> list[Row]:
    whole = GOOD.build()
    over_authorisation = sign(KEYS["user"], whole[:263])
    other_minute = sign(KEYS["user"], good(generated=NOW - 11)[:-65])
    return [
        row("made-in-the-future", good(generated=NOW + SKEW_S + 1), "FUTURE"),
        row("code-expired", good(generated=NOW - 61), "EXPIRED"),
        row("code-expired-b", replace(B, generated=NOW - 31).build(), "EXPIRED", profile="b"),
        row("validity-zero-next-second", good(generated=NOW - 1, validity=0), "EXPIRED"),
        row("user-signature-zero", good(user_signature=ZERO), "USER_FORGED"),
        row("user-signature-of-another-user", good(user_signer="user 2"), "USER_FORGED"),
        row("user-signature-of-the-issuer", good(user_signer="issuer"), "USER_FORGED"),
        row("user-signature-over-another-time", good(user_signature=other_minute), "USER_FORGED"),
        row("user-signature-over-the-authorisation", good(user_signature=over_authorisation), "USER_FORGED"),
        row("generation-time-moved", at(whole, 263, (NOW - 1).to_bytes(4, "big")), "USER_FORGED"),
        row("custom-changed-b", at(replace(B, custom=b"a").build(), 263, b"b"), "USER_FORGED", profile="b"),
        row("account-blocked", good(account_type=0xDD), "ACCOUNT_BLOCKED"),
        row("fare-above-the-limit", whole, "AMOUNT", amount_fen=2001),
        row("used-before", whole, "DUPLICATE", used=whole),
        row("used-before-and-signed-again", good(salt=b"again"), "DUPLICATE", used=whole),
    ]


def document() -> dict[str, Any]:
    groups: tuple[Callable[[], list[Row]], ...] = (passing, malformed, certificates, authorisations, uses)
    return {
        "meta": {
            "title": "Offline transit code: golden and negative vectors",
            "note": "All keys and numbers are invented. Times are Unix seconds, bytes are hex. `expected` is pass or "
            "the first failure in the order of docs/transit-code.md; `used` is a code the gate accepted before.",
            "user_id": USER_ID.decode(),
            "clock_skew_s": SKEW_S,
            "blocked_account_types": ["DD"],
        },
        "keys": {
            name: {"private": f"{private:064X}", "public": public_of(private).hex().upper()}
            for name, private in KEYS.items()
        },
        "anchors": ANCHORS,
        "vectors": [each for group in groups for each in group()],
    }


if __name__ == "__main__":
    print(json.dumps(document(), indent=1))
