"""The agent with the real centre: the security module does what the PSAM cannot; no settlement is lost or doubled."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from apdu.inprocess import InProcessReaders
from cardlib.client_auth import ClientAuth, ClientKey
from cardlib.driver_session import Answer
from cardlib.hsm_wire import CardStep
from cardlib.medical import MedicalAccount
from cardlib.session import SocialSecurityCard
from issuance.app import create_app as create_centre
from issuance.clients.service import bootstrap_client
from issuance.database import migrate
from issuance.settings import Settings
from simulators.card import Algorithm, Faults, SimCard
from simulators.psam import SimPsam
from terminal_agent.app import create_app
from terminal_agent.centre import HttpIssuanceClient
from terminal_agent.driver_desk import DriverDesk
from terminal_agent.driver_functions import FUNCTIONS
from terminal_agent.hsm_way import HsmWay, OncePin
from tests.cardlib.driver_stand import INFO, TERMINAL, Holder, card, keys
from tests.simulators.support import BOTH, vector_roots
from tests.terminal_agent.stand import client_of, settings, until

CONTACT = "Counter Reader 00 00"
PSAM_SLOT = "Counter Reader SAM 02 00"
PAY = "0.1|0.2|20250316101500|"
FILES = "SSSEEF05|07|$SSSEEF06|08|$SSSEEF08|$DF01EF06|28|$"


@dataclass
class Office:
    """A centre and its one terminal's way to it. `lost` makes requests to a path vanish before they arrive, `answers
    lost` after."""

    app: Any
    key: ClientKey
    lost: str = "#"
    unheard: str = "#"
    delay_s: float = 0

    def client(self) -> HttpIssuanceClient:
        inner = httpx.ASGITransport(self.app)
        office = self

        class Line(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if office.lost in request.url.path:
                    raise httpx.ConnectError("no line")
                await asyncio.sleep(office.delay_s)
                answer = await inner.handle_async_request(request)
                if office.unheard in request.url.path:
                    raise httpx.ReadError("line cut")
                return answer

        return HttpIssuanceClient(
            "http://centre.example", auth=ClientAuth(self.key), sign=self.key.sign, transport=Line()
        )

    async def orders(self) -> list[dict[str, Any]]:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://centre.example", auth=ClientAuth(self.key)
        ) as client:
            found: list[dict[str, Any]] = (await client.get("/v1/hsm/debits")).json()
            return found


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    url = f"sqlite+aiosqlite:///{tmp_path}/issuance.db"
    migrate(url)
    key = ClientKey.generate("counter-1")
    await bootstrap_client(url, key.client_id, key.public_jwk(), ("terminal",))
    app = create_centre(Settings(database_url=url), keys())
    yield Office(app, key)
    await app.state.services.database.close()


@dataclass
class Counter:
    desk: DriverDesk
    readers: InProcessReaders
    client: httpx.AsyncClient

    async def __call__(self, function: str, *arguments: object) -> Answer:
        return await self.desk.call(FUNCTIONS[function], [3, *arguments])

    async def settlements(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.client.get("/v1/settlements")).json()["settlements"]
        return found


@asynccontextmanager
async def counter(
    chip: SimCard | None, office: Office | None, *entries: str, psam: SimPsam | None = None, **options: Any
) -> AsyncIterator[Counter]:
    readers = InProcessReaders([CONTACT, PSAM_SLOT])
    if psam is not None:
        readers.insert(PSAM_SLOT, psam)
    if chip is not None:
        readers.insert(CONTACT, chip)
    stand = settings(terminal_number=TERMINAL, psam_readers=("SAM",), pin_dialog=False, **options)
    app = create_app(stand, readers, issuance=office.client() if office else None)
    desk: DriverDesk = app.state.agent.driver
    if entries:
        desk._entry = OncePin(Holder(*entries))
    async with client_of(app) as client:
        yield Counter(desk, readers, client)


def psam(**options: Any) -> SimPsam:
    return SimPsam(vector_roots(), region="990100", terminal_number=TERMINAL, counter=0x2A, **options)


async def day(at: Counter) -> list[Answer]:
    write = "DF01EF06|01000000009|$SSSEEF06|990100199001010012|$"
    return [
        await at("iReadCardBas"),
        await at("iReadCard", 2, INFO, FILES),
        await at("iWriteCard", INFO, "DF01EF06|28|$SSSEEF06|08|$", write),
        await at("iReadCard", 2, INFO, "DF01EF06|28|$"),
        await at("iDoDebit", INFO, PAY),
    ]


@pytest.mark.parametrize("algorithm", BOTH)
async def test_the_security_module_gives_the_strings_of_the_psam(
    algorithm: Algorithm, office: Office, tmp_path: Path
) -> None:
    async with counter(card(algorithm, pin=""), None, psam=psam(), debit_journal=tmp_path / "psam.jsonl") as at:
        by_psam = await day(at)
    async with counter(card(algorithm, pin=""), office, debit_journal=tmp_path / "hsm.jsonl") as at:
        by_hsm = await day(at)
    assert [code for code, _ in by_hsm] == [0] * 5, by_hsm
    assert by_hsm[0] == by_psam[0]
    assert by_hsm[3] == (0, "DF01EF06|01000000009|$")
    for with_psam, with_hsm in zip(by_psam[1:4], by_hsm[1:4], strict=True):
        assert with_psam[0] == -24 or with_psam == with_hsm
    paid, expected = (text.split("|") for _, text in (by_hsm[4], by_psam[4]))
    assert len(paid) == len(expected) == 9
    assert [paid[i] for i in (0, 1, 2, 3, 4, 6)] == [expected[i] for i in (0, 1, 2, 3, 4, 6)]
    assert int(paid[5], 16) > 0x80000000


@pytest.mark.parametrize("algorithm", BOTH)
async def test_pin_reload_and_unblock_ask_for_the_pin_once(algorithm: Algorithm, office: Office) -> None:
    chip = card(algorithm)
    entries = ("1111", "97531864", "97531864")
    async with counter(
        chip, office, *entries, psam=psam(without=frozenset({"PUK"})) if algorithm is Algorithm.SM4 else None
    ) as at:
        assert (await at("iVerifyPIN"))[0] == -51
        assert await at("iUnblockPIN", INFO) == (0, "")
        assert await at("iReloadPIN", INFO) == (0, "")
        assert await at("iVerifyPIN") == (0, "")


@pytest.mark.parametrize("code", [-21, -22, -23, -51, -52, -13, -26368, 0])
async def test_other_codes_never_fall_back(code: int) -> None:
    def never(*_: object) -> Any:
        raise AssertionError("asked")

    way = HsmWay(never, never, never, never, None, never, budget_s=1)  # type: ignore[arg-type]
    assert await way.answer("iReadCard", [2, INFO, FILES], (code, "text")) == (code, "text")


async def test_a_card_that_is_not_genuine_never_reaches_the_centre(office: Office) -> None:
    chip = card(Algorithm.SM4)
    chip.faults = Faults(wrong_mac=True)
    async with counter(chip, office, psam=psam()) as at:
        office.lost = ""
        assert (await at("iReadCardBas"))[0] == -21


async def test_without_the_centre_the_code_of_the_psam_stays_and_nothing_is_half_done(
    office: Office, tmp_path: Path
) -> None:
    chip = card(Algorithm.SM4, pin="")
    async with counter(chip, office, "97531864", debit_journal=tmp_path / "j.jsonl") as at:
        for office.lost in ("/v1/hsm/", "/v1/hsm/pin-commands"):
            code, text = await at("iReloadPIN", INFO)
            assert code == -2201
            assert "中心" in text
        office.lost, office.unheard = "#", "/v1/hsm/debits"
        assert (await at("iDoDebit", INFO, PAY))[0] == -2201
        assert await at.settlements() == []
        office.unheard = "#"
        assert (await at("iReadCard", 2, INFO, "SSSEEF06|08|$"))[0] == 0
    assert totals(chip) == 0
    assert [order["state"] for order in await office.orders()] == ["open"]


async def test_a_slow_centre_is_not_waited_for_longer_than_set(office: Office) -> None:
    office.delay_s = 20
    async with counter(card(Algorithm.SM4), office, network_deadline_s=0.05) as at:
        code, text = await at("iReadCardBas")
        assert (code, "等待太久" in text) == (-2201, True)
    assert CardStep.model_fields["step"].repr is False


# -- money ------------------------------------------------------------------------------------------------------------


def again(chip: SimCard) -> SimCard:
    """The same card, free of faults and of earlier readers."""
    return SimCard(copy.deepcopy(chip.state))


def totals(chip: SimCard) -> int:
    """What the pooling fund has paid, as the card itself says."""
    chip = again(chip)  # the agent's thread may be about to take the power from the other one
    session = SocialSecurityCard(chip, chip.power_on())
    session.open()
    return MedicalAccount(session).balances().pooling_total


@pytest.mark.parametrize("where", ["tear_before", "tear_after"])
@pytest.mark.parametrize("by", ["hsm", "psam"])
async def test_power_cut_after_every_command_of_a_settlement(
    where: str, by: str, office: Office, tmp_path: Path
) -> None:
    """The next insertion tells, also after a restart; done again where it had not happened, the sum is exact."""
    seen = set()
    for command in range(1, 30):
        chip, journal = card(Algorithm.SM4, pin=""), tmp_path / f"{command}.jsonl"
        before = totals(chip)
        sam, centre = (psam, None) if by == "psam" else (lambda: None, office)
        async with counter(chip, centre, psam=sam(), debit_journal=journal) as at:
            assert (await at("iReadCard", 2, INFO, "SSSEEF05|07|$"))[0] == 0
            chip.faults = Faults(**{where: command})
            code, _ = await at("iDoDebit", INFO, PAY)
            begun = await at.settlements()
            if code == 0 and by == "hsm":
                await until(lambda: reported(at))
        if code == 0:
            assert totals(chip) == before + 20
            break
        paid, chip = totals(chip) - before, again(chip)
        async with counter(None, centre, psam=sam(), debit_journal=journal) as at:
            at.readers.insert(CONTACT, chip)
            await until(lambda: at.desk._registry.get(CONTACT).has_card)
            if begun:
                assert begun[0]["state"] == "open"
                (entry,) = await until(lambda: resolved(at))
                assert entry["state"] == ("done" if paid else "void")
                assert bool(entry["tac"]) == bool(paid)
            else:
                assert paid == 0
            seen.add((bool(begun), paid))
            if not paid:
                assert (await at("iDoDebit", INFO, PAY))[0] == 0
            if by == "hsm":
                await until(lambda: reported(at))
        assert totals(chip) == before + 20, command
    else:
        pytest.fail("the settlement never ended")
    assert seen == {(False, 0), (True, 20)} | ({(True, 0)} if where == "tear_before" else set())
    if by == "hsm":
        states = [order["state"] for order in await office.orders()]
        assert states.count("done") == command
        assert "open" not in states


async def resolved(at: Counter) -> list[dict[str, Any]]:
    return [entry for entry in await at.settlements() if entry["state"] != "open"]


async def reported(at: Counter) -> bool:
    return all(entry["is_reported"] for entry in await at.settlements())


async def test_an_undone_settlement_of_a_card_with_pin_is_resolved_before_the_next(
    office: Office, tmp_path: Path
) -> None:
    chip, journal = card(Algorithm.SM4), tmp_path / "j.jsonl"
    async with counter(chip, office, "123456", "123456", debit_journal=journal) as at:
        assert (await at("iVerifyPIN"))[0] == 0
        chip.faults = Faults(tear_before=4)
        assert (await at("iDoDebit", INFO, PAY))[0] != 0
        chip.faults, reader = Faults(), at.desk._registry.get(CONTACT)
        before = reader.insertions
        at.readers.remove(CONTACT)
        at.readers.insert(CONTACT, chip)
        await until(lambda: reader.insertions > before)
        assert (await at("iDoDebit", INFO, PAY))[0] == -27010
        assert [entry["state"] for entry in await at.settlements()] == ["open"]
        assert (await at("iVerifyPIN"))[0] == 0
        assert (await at("iDoDebit", INFO, PAY))[0] == 0
        assert [entry["state"] for entry in await at.settlements()] == ["done", "void"]
        (page,) = [json.dumps(entry) for entry in await at.settlements() if entry["state"] == "done"]
        assert "A00000011" not in page
