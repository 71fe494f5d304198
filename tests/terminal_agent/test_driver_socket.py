"""Every driver function through the WebSocket, in both dialects, with cards, a PSAM and a PIN pad on a serial line."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from websockets.sync.client import ClientConnection, connect

from apdu.inprocess import InProcessReaders
from cardlib.hsm_route import HsmRoute
from hsm.transactions import transaction_keys
from simulators.card import Algorithm, SimCard
from simulators.factory import build_card
from simulators.personas import load
from simulators.psam import SimPsam
from simulators.serial import SimPinPad
from terminal_agent import driver_desk
from terminal_agent.app import create_app
from terminal_agent.driver_desk import DriverDesk
from terminal_agent.driver_functions import FUNCTIONS
from terminal_agent.server import Ready, running_agent
from tests.cardlib.driver_stand import FACTORS, INFO, TERMINAL, card, keys, signing_certificate
from tests.simulators.support import vector_roots
from tests.terminal_agent.stand import client_of, settings, until, wait_for_cards

CONTACT = "Counter Reader 00 00"
PSAM_SLOT = "Counter Reader SAM 02 00"
PAY = "0.1|0.2|20250316101500|"


class Page:
    """A web page of the installed base."""

    def __init__(self, link: ClientConnection, where: Ready) -> None:
        self._link, self.where = link, where

    def ask(self, request: object) -> dict[str, Any]:
        self._link.send(json.dumps(request))
        answer: dict[str, Any] = json.loads(self._link.recv(timeout=60))
        return answer

    def __call__(self, function: str, **parameters: object) -> tuple[int, str]:
        answer = self.ask({"function": function} | parameters)
        assert answer["functionName"] == function
        code = 0 if answer["success"] == "1" else int(answer["success"])
        return code, answer["pOutInfo"]

    def second(self, function: str, *parameters: str) -> tuple[int, str]:
        answer = self.ask({"func": function, "in": list(parameters)})
        assert answer.keys() == {"result", "out"}
        return answer["result"], answer["out"][0]


@contextmanager
def terminal(chip: SimCard | None, *, psam: bool = True, **options: Any) -> Iterator[tuple[Page, InProcessReaders]]:
    readers = InProcessReaders([CONTACT, PSAM_SLOT])
    if psam:
        readers.insert(PSAM_SLOT, SimPsam(vector_roots(), "990100", TERMINAL))
    if chip is not None:
        readers.insert(CONTACT, chip)
    stand = settings(port=0, ws_port=0, psam_readers=("SAM",), operation_timeout_s=10, **options)
    with running_agent(stand, readers) as where, connect(where.ws_url, proxy=None) as link:
        wait_for_cards(where, readers)
        yield Page(link, where), readers


def typing(pad: SimPinPad, *entries: tuple[str, str | None]) -> threading.Thread:
    """The holder, who answers each prompt in turn."""

    def hands() -> None:
        for digits, again in entries:
            assert pad.asked.wait(30)
            pad.type(digits, again)

    thread = threading.Thread(target=hands, daemon=True)
    thread.start()
    return thread


def test_a_hospitals_day_with_psam_and_pin_pad(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = tmp_path / "debits.jsonl"
    with (
        caplog.at_level(1),
        SimPinPad() as pad,
        terminal(card(Algorithm.SM4), pin_pad=pad.path, debit_journal=journal) as (page, _),
    ):
        code, text = page("iReadCardBas", iType=3)
        assert (code, text.split("|")[2], text.split("|")[9]) == (0, "A00000011", TERMINAL)
        hands = typing(pad, ("123456", None), ("123456", None), ("97531864", "97531864"), ("97531864", None))
        assert page("iDoDebit", iType=3, pCardInfo=INFO, pPayInfo=PAY)[0] == -27010
        assert page("iVerifyPIN", iType=3) == (0, "")
        code, text = page("iDoDebit", iType=3, pCardInfo=INFO, pPayInfo=PAY)
        assert code == 0, text
        code, records = page("iReadDebitRecord", iType=3)
        assert (code, text.split("|")[6] in records) == (0, True)
        assert page("iReadCard", iType="1", iAuthType=2, pCardInfo=INFO, pFileAddr="SSSEEF06|08|$") == (
            0,
            "SSSEEF06|990100199001010012|$",
        )
        write = {"pCardInfo": INFO, "pFileAddr": "DF01EF06|28|$", "pWriteData": "DF01EF06|01000000009|$"}
        assert page("iWriteCard", iType=1, **write)[0] in (0, -24)
        assert page("iChangePIN", iType=3) == (0, "")
        assert page("iVerifyPIN", iType=3) == (0, "")
        assert page("iReloadPIN", iType=3, pCardInfo=INFO)[0] == -24
        hands.join(30)
    begun, ended = (json.loads(line) for line in journal.read_text().splitlines())
    assert begun["pending"]["fields"]["pooling"] == 20
    assert (ended["outcome"], len(ended["tac"])) == ("done", 8)
    assert journal.stat().st_mode & 0o777 == 0o600
    own = [record for record in caplog.records if record.name != "websockets.client"]  # the page's own log
    logged = "".join(record.getMessage() for record in own)
    assert "VERIFY" in logged
    for secret in ("123456", "97531864", "990100199001010012", "A00000011"):
        assert secret not in logged


@pytest.mark.parametrize("algorithm", [Algorithm.TRIPLE_DES, Algorithm.SM4])
def test_the_security_module_route_in_both_dialects(algorithm: Algorithm, tmp_path: Path) -> None:
    centre = HsmRoute(keys(), transaction_keys(keys()), count(1).__next__)
    with (
        SimPinPad() as pad,
        terminal(card(algorithm), psam=False, pin_pad=pad.path, debit_journal=tmp_path / "debits.jsonl") as (page, _),
    ):
        code, text = page("iReadCardBas_HSM_Step1", iType=3)
        assert code == 0, text
        assert page("iReadCardBas_HSM_Step2", pKey=centre.card_bas(text))[1].startswith("990100|990100199001010012|")
        code, text = page.second("iReadCard_HSM_Step1", "3", INFO, "SSSEEF08|$")
        assert code == 0, text
        assert page.second("ReadCard_HSM_Step2", centre.authentication(text, FACTORS))[0] == 0
        code, text = page.second("iWriteCard_HSM_Step1", "3", INFO, "DF01EF06|28|$")
        pkey = centre.authentication(text, FACTORS)
        assert page.second("iWriteCard_HSM_Step2", pkey, "DF01EF06|01000000009|$") == (0, "")
        code, text = page("iUnblockPIN_HSM_Step1", iType=3, pCardInfo=INFO)
        code, text = page("iUnblockPIN_HSM_Step2", pkey=centre.authentication(text, FACTORS))
        assert page("iUnblockPIN_HSM_Step3", pKey=centre.pin_command(text, FACTORS)) == (0, "")
        hands = typing(pad, ("2468", "2468"), ("2468", None))
        code, text = page("iReloadPIN_HSM_Step1", iType=3, pCardInfo=INFO)
        code, text = page("iReloadPIN_HSM_Step2", pKey=centre.authentication(text, FACTORS))
        assert page("iReloadPIN_HSM_Step3", pKey=centre.pin_command(text, FACTORS)) == (0, "")
        assert page.second("iVerifyPIN", "3") == (0, "")
        code, text = page("iDoDebit_HSM_Step1", iType=3, pCardInfo=INFO, pPayInfo=PAY)
        assert code == 0, text
        order = centre.debit(text, FACTORS)
        code, text = page("iDoDebit_HSM_Step2", pKey=order.pkey)
        centre.check_debit(text, order, FACTORS)
        hands.join(30)


def test_what_a_plain_terminal_cannot_do_has_its_code() -> None:
    with terminal(card(Algorithm.SM4, pin=""), psam=True, pin_dialog=False) as (page, _):
        assert page("iChangePIN", iType=3)[0] == -13, "neither PIN pad nor dialog"
        assert page("iDoDebit", iType=3, pCardInfo=INFO, pPayInfo=PAY)[0] == -13, "no journal"
        assert page("iReadDebitRecord", iType=3) == (0, ""), "nothing was settled"
        assert page("iUnblockPIN", iType=3, pCardInfo=INFO) == (0, ""), "a MAC is enough"
        assert page("iReloadPIN", iType=3, pCardInfo=INFO)[0] == -24
        other = INFO.replace("A00000011", "A00000012")
        assert page("iReadCard", iType=3, iAuthType=2, pCardInfo=other, pFileAddr="SSSEEF05|07|$")[0] == -22
        assert page("PKI_SignData", iType=3, pInData="x")[0] == -13, "no certificate application"
        assert page("iReadICCardNum")[0] == -13, "no bank application"
        assert page("iReadIdentityCards")[0] == -13, "no such function"


@pytest.mark.parametrize("is_second", [False, True])
def test_certificates_and_the_bank_number_without_a_pin_of_the_page(
    is_second: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """pUserPin is wrong here: what a page sends as PIN is neither used nor logged."""
    chip = SimCard(build_card(load("adult-3.0"), vector_roots()))
    certificate = base64.b64encode(signing_certificate(chip)).decode()
    with caplog.at_level(1), SimPinPad() as pad, terminal(chip, pin_pad=pad.path) as (page, _):
        hands = typing(pad, ("123456", None))
        if is_second:
            code, signature = page.second("PKI_SignData", "999999", "参保证明", "3")
            verified = page.second("PKI_VerifySign", "999999", certificate, "参保证明", signature, "3")
            sealed = page.second("PKI_SealEnvelope", "999999", certificate, "参保证明", "3")
            number = page.second("iReadICCardNum")
        else:
            code, signature = page("PKI_SignData", pUserPin="999999", pInData="参保证明", iType=3)
            given_ = {"pCert": certificate, "pClearText": "参保证明", "pSignature": signature, "iType": 3}
            verified = page("PKI_VerifySign", **given_)
            assert page("PKI_VerifySign", **given_ | {"pClearText": "x", "pUserPin": "999999"})[0] == -15
            sealed = page("PKI_SealEnvelope", pCert=certificate, pInData="参保证明", iType=3)
            number = page("iReadICCardNum")
        hands.join(30)
        assert (code, verified, sealed[0], number[0]) == (0, (0, ""), 0, 0), signature
        assert number[1].isdecimal()
    own = "".join(record.getMessage() for record in caplog.records if record.name != "websockets.client")
    assert "PKI_SignData" in own
    for secret in ("999999", "123456", number[1], "参保证明"):
        assert secret not in own


def test_a_card_that_leaves_ends_the_session() -> None:
    with terminal(card(Algorithm.SM4)) as (page, readers):
        address = {"iType": 1, "pCardInfo": INFO, "pFileAddr": "SSSEEF06|08|$"}
        assert page("iReadCard_HSM_Step1", **address)[0] == 0
        readers.remove(CONTACT)
        wait_for_cards(page.where, readers)
        assert page("iReadCard_HSM_Step2", pKey="00" * 16)[0] == -23
        assert page("iReadCard", iAuthType=2, **address)[0] == -2
        readers.insert(CONTACT, card(Algorithm.SM4))
        wait_for_cards(page.where, readers)
        assert page("iReadCard", iAuthType=2, **address)[0] == 0


async def test_a_kept_card_is_busy_for_others_until_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    readers = InProcessReaders([CONTACT])
    readers.insert(CONTACT, card(Algorithm.TRIPLE_DES))
    app = create_app(settings(), readers)
    desk: DriverDesk = app.state.agent.driver

    async def is_busy(client: httpx.AsyncClient) -> bool:
        answer = await client.post(f"/v1/readers/{CONTACT}/basic-information", json={})
        return bool(answer.json()["code"] == "CARD_BUSY")  # else PSAM_ABSENT: the card itself was asked

    async with client_of(app) as client:
        assert (await desk.call(FUNCTIONS["iReadCard"], [1, 2, INFO, "SSSEEF05|07|$"]))[0] == 0
        assert await is_busy(client)
        monkeypatch.setattr(driver_desk, "HOLD_S", 0.05)
        assert (await desk.call(FUNCTIONS["iReadCard"], [1, 2, INFO, "SSSEEF05|07|$"]))[0] == 0
        await until(lambda: app.state.agent.registry.get(CONTACT).holder is None)
        assert not await is_busy(client)
        monkeypatch.setattr(driver_desk, "HOLD_S", 60)
        assert (await desk.call(FUNCTIONS["iReadDebitRecord"], [1]))[0] == -27010
        assert await is_busy(client)
        assert (await desk.call(FUNCTIONS["iReadCardBas"], [1]))[0] == -2201
        assert not await is_busy(client), "iReadCardBas gives the card back"


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_wrong_parameters_of_every_function(name: str, bare: Page) -> None:
    function = FUNCTIONS[name]
    if not function.parameters:  # the vendors' extras
        assert bare(name)[0] == bare.second(name)[0] == (-2 if function.begins else -13)
        assert bare.second(name, "3")[0] == -14
        return
    assert bare(name)[0] == bare.second(name)[0] == -14
    assert bare.second(name, *["3"] * (len(function.parameters) + 1))[0] == -14
    assert bare.ask({"func": name, "in": "3"})["result"] == -14
    if function.begins:
        given: dict[str, object] = dict.fromkeys(function.parameters, "x")
        assert bare(name, **given | {"iType": 5})[0] == -14
        if "iAuthType" in given:
            assert bare(name, **given | {"iType": 3, "iAuthType": 3})[0] == -14
            given["iAuthType"] = "2"
        assert bare(name, **given | {"iType": 3})[0] == -2
    else:
        assert bare(name, **dict.fromkeys(function.parameters, "x"))[0] == -23


@pytest.fixture(scope="module")
def bare() -> Iterator[Page]:
    with terminal(None) as (page, _):
        yield page


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=10), lambda inner: st.lists(inner, max_size=3), max_leaves=4
)


@hypothesis_settings(max_examples=60)
@given(name=st.sampled_from([*FUNCTIONS, "x"]) | st.text(max_size=8), given_=JSON)
def test_every_message_of_the_second_dialect_is_answered(bare: Page, name: str, given_: object) -> None:
    answer = bare.ask({"func": name, "in": given_})
    assert answer.keys() == {"result", "out"}
    assert answer["result"] < 0


def test_logging_is_quiet_about_arguments(caplog: pytest.LogCaptureFixture, bare: Page) -> None:
    with caplog.at_level(logging.DEBUG, "terminal_agent"):
        bare("iReadCard", iType=3, iAuthType=2, pCardInfo=INFO, pFileAddr="SSSEEF05|07|$")
    assert INFO[:32] not in caplog.text
