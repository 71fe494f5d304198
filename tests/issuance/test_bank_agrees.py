"""Whatever happens in whatever order, with every fault of the bank: after a reconciliation bank and card agree."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from apps_catalog.catalog import Catalog
from cardlib.client_auth import ClientKey
from hsm.api import KeyService
from issuance.app import create_app
from issuance.bank.schemas import BankNotice
from issuance.bank.service import BankService
from issuance.cards.commands import CardCommands
from issuance.cards.schemas import CardOrder
from issuance.outbox.delivery import LEASE, Envelope, NotDeliveredError, deliver_due
from issuance.outbox.repository import OutboxRepository, body_of
from issuance.problems import ProblemError
from issuance.scope import EVERYWHERE
from issuance.settings import Settings
from issuance.unit import system_unit
from simulators.bank import FAULTS, BankEventError, SimBank
from tests.issuance.bank_stand import BankStand, link_to
from tests.issuance.conftest import Centre, Clock, Store

EXAMPLES = 25
EVENTS = ("activate", "lose", "release", "freeze", "unfreeze", "close")
PAIRS = {("none", "none"), ("none", "closed"), ("closed", "none")}


@pytest.fixture
def world(
    tmp_path: Path,
    empty_database: Path,
    client_keys: dict[str, ClientKey],
    keys: KeyService,
    catalog: Catalog,
    orders: list[dict[str, Any]],
) -> Any:
    """Makes a centre with one card and a bank, each time the same from prepared files."""
    prepared = tmp_path / "prepared.db", tmp_path / "prepared-bank.db"
    names = dict(client_keys)

    def make(number: int) -> BankStand:
        files = tmp_path / f"{number}.db", tmp_path / f"{number}-bank.db"
        for source, target in zip((prepared if number else (empty_database, prepared[1])), files, strict=True):
            if source.exists():
                shutil.copy(source, target)
        url, clock, bank = f"sqlite+aiosqlite:///{files[0]}", Clock(), SimBank(files[1])
        centre = Centre(url, Store(url, bytes), keys, clock, None, dict(names))  # type: ignore[arg-type]
        centre.app = create_app(
            Settings(database_url=url), keys, clock=clock, catalog=catalog, bank=link_to(bank, centre)
        )
        return BankStand(centre, bank)

    async def prepare() -> None:
        stand = make(0)
        await stand.centre.register("bank", ("bank",))
        names.update(stand.centre.client_keys)
        await stand.card()
        await stand.centre.app.state.services.database.close()
        stand.bank.close()
        for source, target in zip(("0.db", "0-bank.db"), prepared, strict=True):
            shutil.copy(tmp_path / source, target)

    asyncio.run(prepare())
    return make


Step = tuple[str, str, int]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("act"), st.sampled_from(["lose", "lose_temporarily", "release"]), st.just(0)),
    st.tuples(st.just("act"), st.sampled_from(["lock", "unlock", "cancel", "account"]), st.just(0)),
    st.tuples(st.just("bank"), st.sampled_from(EVENTS), st.integers(0, 1)),
    st.tuples(st.just("notice"), st.sampled_from(EVENTS), st.just(0)),
    st.tuples(st.just("fault"), st.sampled_from(FAULTS), st.integers(1, 3)),
    st.tuples(st.just("time"), st.just(""), st.sampled_from([10, 200, 3600, 8 * 24 * 3600])),
    st.tuples(st.just("deliver"), st.just(""), st.just(0)),
    st.tuples(st.just("die"), st.just(""), st.just(0)),
)


class World:
    """One card and its bank; requests go past HTTP, which other tests cover."""

    def __init__(self, stand: BankStand) -> None:
        self.stand = stand
        ((self.number,),) = stand.centre.store.sql("SELECT card_number FROM cards")

    async def step(self, step: Step) -> None:
        kind, what, count = step
        if kind == "fault":
            self.stand.bank.faults[what] += count
        elif kind == "time":
            self.stand.centre.clock.advance(count)
            await self.stand.jobs()
        elif kind == "deliver":
            await deliver_due(self.stand.services)
        elif kind == "die":
            await self._die()
        elif kind == "bank":
            await self._at_the_bank(what, is_told=bool(count))
        elif kind == "notice":
            await self._notice(what)
        else:
            await self._act(what)

    async def _act(self, act: str) -> None:
        with contextlib.suppress(ProblemError):
            async with system_unit(self.stand.services) as unit:
                commands, order = CardCommands(unit), CardOrder()
                if act == "release":
                    await commands.release(self.number, order)
                elif act == "account":
                    await commands.open_account(self.number, order)
                else:
                    await commands.act(self.number, act, order)

    async def _at_the_bank(self, event: str, *, is_told: bool) -> None:
        with contextlib.suppress(BankEventError):
            self.stand.bank.desk(self.number, event)
            if is_told:
                await self._notice(event)

    async def _notice(self, event: str) -> None:
        async with system_unit(self.stand.services) as unit:
            unit = replace(unit, caller=replace(unit.caller, client_id="bank"))
            notice = BankNotice(notice_id=secrets.token_hex(8), card_number=self.number, event=event)
            await BankService(unit).take(notice)

    async def _die(self) -> None:
        """A replica that claimed the next message and was never heard of again; the bank may have it."""
        services = self.stand.services
        async with services.database.transaction(scope=EVERYWHERE) as session:
            rows = await OutboxRepository(session).claim(["bank"], services.clock(), LEASE, 1)
        for row in rows:
            body = body_of(row, services.sealer)
            envelope = Envelope(row.message_id, row.topic, row.key, row.region, body, row.attempts, row.owner)
            with contextlib.suppress(NotDeliveredError):
                await services.receivers["bank"].deliver(envelope)

    async def agree(self) -> None:
        stand = self.stand
        stand.bank.faults.clear()
        await stand.settle()
        for _ in range(3):
            if await stand.reconcile() == 0:
                break
            await stand.settle()
        assert await stand.reconcile() == 0
        card = await stand.view(self.number)
        ours, theirs = card["account"]["state"], stand.bank.states().get(self.number, "none")
        assert ours == theirs or (ours, theirs) in PAIRS
        if card["state"] in ("2", "4"):
            assert ours in ("none", "lost", "closed")
        if card["state"] == "9":
            assert ours in ("none", "closed")


def machine_of(make: Any) -> type[RuleBasedStateMachine]:
    class Life(RuleBasedStateMachine):
        made = 0

        def __init__(self) -> None:
            super().__init__()
            Life.made += 1
            self.runner = asyncio.Runner()
            self.world = World(make(Life.made))

        @rule(steps=st.lists(STEPS, min_size=1, max_size=12))
        def live(self, steps: list[Step]) -> None:
            for step in steps:
                self.runner.run(self.world.step(step))

        @rule()
        def come_together(self) -> None:
            self.runner.run(self.world.agree())

        def teardown(self) -> None:
            try:
                self.runner.run(self.world.agree())
            finally:
                self.runner.run(self.world.stand.services.database.close())
                self.world.stand.bank.close()
                self.runner.close()

    return Life


@pytest.mark.flaky(reruns=0)
def test_no_sequence_leaves_bank_and_card_apart(world: Any) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine_of(world),
        settings=settings(max_examples=EXAMPLES, stateful_step_count=6, suppress_health_check=list(HealthCheck)),
    )
