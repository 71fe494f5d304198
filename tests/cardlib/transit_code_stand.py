"""A root, an issuer, a phone and a gate that belong together, and the vectors."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from cardlib.spec.transit_code import CodeProfile, code_profile
from cardlib.transit_code import MAJORITY, Authorisation, IssuerCertificate, SignedAuthorisation
from cardlib.transit_code_anchors import TrustAnchor, TrustAnchors
from cardlib.transit_code_issuer import authorise, issue_certificate
from cardlib.transit_code_verifier import TransitCodeVerifier
from hsm.api import Algorithm, KeyRef
from hsm.primitives import default_engine
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from simulators import wallet_code

NOW = 1_795_132_800  # 2026-11-20 08:00 in China
VECTOR_FILE = Path(__file__).parents[1] / "vectors" / "vectors_transit_code.json"
VECTORS: dict[str, Any] = json.loads(VECTOR_FILE.read_text("utf-8"))
ROWS = {row["id"]: row for row in VECTORS["vectors"]}
ROOT, ISSUER = KeyRef("TRANSIT_ROOT", Algorithm.SM2), KeyRef("TRANSIT_ISSUER", Algorithm.SM2)


def code(name: str) -> bytes:
    return bytes.fromhex(ROWS[name]["code"])


def vector_anchors() -> TrustAnchors:
    return TrustAnchors.parse(json.dumps(VECTORS["anchors"]).encode())


def vector_gate(profile: str = "a_c", now: int = NOW) -> TransitCodeVerifier:
    return TransitCodeVerifier(vector_anchors(), code_profile(profile), clock=lambda: now)


@cache
def keys() -> SoftKeyService:
    service = SoftKeyService.create(Path(mkdtemp()) / "keys.json", "test passphrase", cost=ScryptCost(n=2, r=8, p=1))
    for pair in (ROOT, ISSUER):
        service.generate_pair(pair)
    return service


@dataclass
class Stand:
    """Builds codes the product's own way: `replace` what a test wants different."""

    now: int = NOW
    private: bytes = field(default_factory=lambda: default_engine().sm2_generate()[0])
    profile: CodeProfile = MAJORITY

    def certificate(self, **changes: Any) -> IssuerCertificate:
        values = {"root_index": 7, "issuer": "99010001", "expires": "1230", "serial": b"\x00\x00\x01"} | changes
        return issue_certificate(keys(), ROOT, public_key=keys().public_key(ISSUER), **values)

    def authorisation(self, **changes: Any) -> Authorisation:
        plain = Authorisation(
            certificate=_certificate(),
            payment_account="9901202600000001",
            card_account="00009901000000001234",
            issuer="99010001",
            platform=bytes.fromhex("99010000"),
            account_type=1,
            amount_limit_fen=2000,
            user_key=wallet_code.public_key(self.private),
            authorised_until=self.now + 86_400,
            validity_s=60,
        )
        return replace(plain, **changes)

    def signed(self, **changes: Any) -> SignedAuthorisation:
        return authorise(keys(), ISSUER, self.authorisation(**changes), self.profile)

    def show(self, generated_at: int | None = None, **changes: Any) -> bytes:
        moment = self.now if generated_at is None else generated_at
        return wallet_code.finish(self.signed(**changes).encode(self.profile), moment, self.private, self.profile)

    def anchors(self) -> TrustAnchors:
        return TrustAnchors([TrustAnchor(7, "test root", keys().public_key(ROOT), date(2036, 12, 31))])

    def gate(self, **changes: Any) -> TransitCodeVerifier:
        return TransitCodeVerifier(self.anchors(), self.profile, clock=lambda: self.now, **changes)


@cache
def _certificate() -> IssuerCertificate:
    return Stand().certificate()
