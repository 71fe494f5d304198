"""A centre that is a transit issuer, with the CA in the home its keys are in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from cardlib.spec.transit_code import code_profile
from cardlib.transit_code_anchors import TrustAnchors
from cardlib.transit_code_verifier import TransitCodeVerifier
from hsm.api import KeyRef, KeyService
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.app import create_app
from issuance.settings import Settings
from onecard_cli.home import Home
from onecard_cli.key_office import KeyOffice
from onecard_cli.transit_ca import TransitCa
from simulators import wallet_code
from tests.issuance.conftest import START, Centre, ok
from tests.issuance.furnished import furnished
from tests.issuance.phone import Phone, signed_phone

ISSUER = "99010001"


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransitCa]:
    home = Home.at(tmp_path_factory.mktemp("transit"))
    with SoftKeyService.create(home.key_store, "correct horse", cost=ScryptCost(n=1 << 4)) as service:
        made = TransitCa(KeyOffice(home, service), int(START.timestamp()))
        made.init(7, "test root", date(2030, 12, 31))
        yield made


@pytest.fixture(scope="session")
def keys(ca: TransitCa) -> KeyService:
    return ca.office.service


@dataclass
class TransitStand:
    centre: Centre
    ca: TransitCa
    file: Path
    phone: Phone

    def certify(self, expires: str = "1228", key: KeyRef | None = None) -> bytes:
        """What `onecard ecard ca issue` makes, put where the centre looks."""
        issued = self.ca.issue(self.ca.root(7), ISSUER, expires, key=key or self.ca.issuer_key())
        self.file.write_bytes(issued.certificate.encode())
        return self.file.read_bytes()

    async def authorised(self) -> bytes:
        return bytes.fromhex(ok(await self.phone.post("transit-authorisation"), 201)["authorisation"])

    def now(self) -> int:
        return int(self.centre.clock().timestamp())

    def show(self, authorisation: bytes, profile: str = "a_c") -> bytes:
        return wallet_code.finish(authorisation, self.now(), self.phone.private, code_profile(profile))

    def gate(self, profile: str = "a_c") -> TransitCodeVerifier:
        """It knows the file of roots and the time, nothing else."""
        roots = TrustAnchors.parse(self.ca.anchors().encode())
        return TransitCodeVerifier(roots, code_profile(profile), clock=lambda: self.centre.clock().timestamp())


@pytest.fixture
async def stand(centre: Centre, ca: TransitCa, tmp_path: Path) -> TransitStand:
    file = tmp_path / "transit-issuer.cer"
    use(centre, Settings(database_url=centre.url, transit_certificate_path=file, transit_platform="99010000"))
    stand = TransitStand(centre, ca, file, await furnished(centre, "signed phone", lambda: _phone(centre)))
    stand.certify()
    return stand


async def _phone(centre: Centre) -> Phone:
    await centre.stock(blanks=2, numbers=2)
    return await signed_phone(centre)


def use(centre: Centre, settings: Settings) -> None:
    """A process of the centre that has not been there before."""
    centre.old_apps.append(centre.app)
    catalog = centre.app.state.services.catalog
    centre.app = create_app(settings, centre.keys, clock=centre.clock, catalog=catalog)
    centre.open_clients.clear()
