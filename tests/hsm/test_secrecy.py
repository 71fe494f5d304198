"""No key byte in any log, error, repr or file: known keys, every operation, the most verbose level, then a search.

The whole system with its database and a card is searched in `tests/e2e/test_secrecy.py`.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hsm import card_rules
from hsm.api import (
    CARD_ALGORITHMS,
    CARD_PURPOSES,
    Algorithm,
    Authentication,
    CardFactors,
    HsmError,
    KeyRef,
    Purpose,
    SecuredMessage,
)
from hsm.primitives import default_engine, engines
from hsm.service import StoreKeyService
from hsm.soft import SoftKeyService
from hsm.soft_device import SoftKey
from hsm.transactions import Load, Purchase
from hsm.transit_transactions import PURPOSES as TRANSIT
from hsm.transit_transactions import SoftTransitTransactionKeys, TransitTransaction
from tests.hsm import backends
from tests.hsm.backends import BACKENDS, Backend, algorithms, opened
from tests.hsm.seeded import Everything, Secrets, everything, files, forms

FACTORS = CardFactors("990100", bytes.fromhex("86FE990100000001"))
CHALLENGE, HEADER, RECORD = bytes(range(4)), bytes.fromhex("84D60000"), bytes(8)
ROOTS = {
    "IRK": Purpose.AUTHENTICATION,
    "STK": Purpose.MESSAGE,
    "TMK": Purpose.MASTER,
    "DPK": Purpose.PURCHASE,
    "DLK": Purpose.LOAD,
    "DTK": Purpose.TAC,
}
LOAD = Load(bytes(4), 1, 100, 50, bytes(6), bytes(7))
PURCHASE = Purchase(bytes(4), 1, 10, 0, 0, bytes(6), bytes(4), bytes(7))


@dataclass
class Run:
    """One service under watch; `attempt` notes what an operation answers or raises."""

    service: StoreKeyService
    secrets: Secrets
    log: Everything

    def attempt(self, call: Callable[[], object], *, is_shown: bool = True) -> None:
        try:
            answer = call()
        except (HsmError, ValueError, TypeError, AttributeError) as error:
            self.log.note_error(error)
        else:
            if is_shown:
                self.log.note(repr(answer))

    def bring(self, key: KeyRef, purpose: Purpose, *, level: int = 0) -> bytes:
        """By components that are secrets too, with what follows from the key."""
        value, share = (self.secrets.make(f"{key} {what}") for what in ("key", "share"))
        other = self.secrets.add(f"{key} other share", bytes(a ^ b for a, b in zip(value, share, strict=True)))
        self.attempt(lambda: self.service.import_components(key, purpose, [share, other], level=level))
        if level:
            parts, root = card_rules.factors_of_level(level, FACTORS), SoftKey(default_engine(), key.algorithm, value)
            for end in range(1, len(parts) + 1):
                self.secrets.add(f"{key} diversified {end}", card_rules.diversified_value(root, parts[:end]))
            session = card_rules.session_key(card_rules.diversified(root, parts), CHALLENGE.ljust(8, b"\1"))
            if isinstance(session, SoftKey):
                self.secrets.add(f"{key} session", session.value)
        return value


def card_operations(run: Run, algorithm: Algorithm) -> None:
    service, refs = run.service, {name: KeyRef(name, algorithm) for name in ROOTS}
    for name, purpose in ROOTS.items():
        run.bring(refs[name], purpose, level=1)
    pin = run.secrets.add(f"PIN {algorithm}", b"\x24918273645")
    loading = {"under": refs["TMK"], "under_factors": FACTORS, "challenge": CHALLENGE, "header": HEADER}
    for name, ref in refs.items():
        for short in (CHALLENGE, CHALLENGE.ljust(8, b"\1"), bytes(3)):
            asked = Authentication(FACTORS, short, bytes(8))
            message = SecuredMessage(FACTORS, short, HEADER, b"public data", encrypt=True)
            run.attempt(lambda ref=ref, asked=asked: service.authentication_value_batch(ref, [asked]))
            run.attempt(lambda ref=ref, message=message: service.secured_data_batch(ref, [message]))
            run.attempt(lambda ref=ref, short=short: service.decrypted_data(ref, FACTORS, short, bytes(16)))
        run.attempt(lambda ref=ref: service.wrap_card_key(ref, FACTORS, RECORD, **loading))
        run.attempt(lambda ref=ref: service.wrap_card_key(ref, FACTORS, b"", **loading))
        run.attempt(lambda ref=ref: service.master_mac(ref, FACTORS, CHALLENGE, HEADER))
        run.attempt(lambda ref=ref: service.card_kcv_batch(ref, [FACTORS]))
        run.attempt(lambda ref=ref: service.diversification(ref, FACTORS))
        run.attempt(lambda ref=ref: service.load_mac2(ref, FACTORS, LOAD, bytes(4)))
        run.attempt(lambda ref=ref: service.purchase_mac1(ref, FACTORS, PURCHASE))
        run.attempt(lambda ref=ref: service.check_purchase(ref, FACTORS, PURCHASE, bytes(4)))
        run.attempt(lambda ref=ref: service.check_tac(ref, FACTORS, LOAD, bytes(4)))
        assert ROOTS[name] in CARD_PURPOSES
    for value in (pin, pin + b"!", pin * 2):
        run.attempt(lambda value=value: service.wrap_value(value, RECORD, **loading))


def transit_operations(run: Run, algorithm: Algorithm) -> None:
    keys, version = SoftTransitTransactionKeys(run.service), 9
    for name, purpose in TRANSIT.items():
        run.bring(KeyRef(name, algorithm, version), purpose, level=2)
    purse = TransitTransaction(2, bytes(8), bytes(8), bytes(4), 1, 100, 50, bytes(6))
    run.attempt(lambda: keys.online_mac2(algorithm, version, purse, bytes(4), bytes(7)))
    run.attempt(lambda: keys.check_tac(algorithm, version, purse, bytes(7), bytes(4)))
    run.attempt(lambda: keys.purchase_macs(algorithm, version, purse, bytes(7)))
    run.attempt(lambda: keys.maintenance_mac(algorithm, version, bytes(8), bytes(8), bytes(8), HEADER))


def custody(run: Run, algorithm: Algorithm) -> None:
    """Transport, regions, sealing, and every way to be refused with a key in hand."""
    service, kek, data = run.service, KeyRef("KEK", algorithm), KeyRef("records", algorithm)
    run.bring(kek, Purpose.TRANSPORT)
    run.bring(data, Purpose.SEAL)
    plain = run.secrets.make(f"sealed data {algorithm}", 24)
    run.attempt(lambda: service.index(data, plain), is_shown=False)
    run.attempt(lambda: service.unseal(data, service.seal(data, plain, b"row"), b"row"), is_shown=False)
    run.attempt(lambda: service.unseal(data, service.seal(data, plain, b"row"), b"other"))
    nation = KeyRef("IRK", algorithm)
    province = KeyRef("IRK", algorithm, region=FACTORS.region)
    run.attempt(lambda: service.derive_root(province, nation, level=2))
    wrapped, kcv = service.wrap_root(nation, region=FACTORS.region, level=3, kek=kek)
    arrived = KeyRef("IRK", algorithm, 3, FACTORS.region)
    for check in (bytes(3), kcv, kcv):
        run.attempt(
            lambda check=check: service.import_wrapped(
                arrived, Purpose.AUTHENTICATION, wrapped, kek=kek, kcv=check, level=3
            )
        )
    secret = run.secrets.make(f"refused {algorithm}")
    for shares in ([secret], [secret, secret], [secret, secret[:8]], [secret + b"1", secret + b"2"]):
        run.attempt(lambda shares=shares: service.import_components(KeyRef("new", algorithm), Purpose.SEAL, shares))
    taken = [run.secrets.make("taken 1"), run.secrets.make("taken 2")]
    run.attempt(lambda: service.import_components(kek, Purpose.SEAL, taken))
    run.attempt(lambda: service.import_components(KeyRef("", algorithm), Purpose.SEAL, taken))
    run.attempt(lambda: service.retire(kek))
    run.attempt(lambda: service.wrap_root(nation, region=FACTORS.region, level=3, kek=kek))


def pairs(run: Run) -> None:
    service, sign, box = run.service, KeyRef("issuer", Algorithm.SM2), KeyRef("box", Algorithm.SM2)
    public = service.generate_pair(box, Purpose.DECRYPT)
    service.generate_pair(sign)
    plain = run.secrets.make("envelope", 30)
    sealed = default_engine().sm2_encrypt(public, plain)
    run.attempt(lambda: service.decrypt(box, sealed), is_shown=False)
    run.attempt(lambda: service.decrypt(box, sealed[:-1]))
    run.attempt(lambda: service.sign(sign, b"message", user_id=b"id"))
    run.attempt(lambda: service.sign(sign, b"message"))
    run.attempt(lambda: service.sign(box, b"message", user_id=b"id"))
    for ref in (sign, box):
        handle = bytes(service.table.find(ref).handle)
        run.secrets.add(f"{ref} private", handle) if service.device.name == "soft" else None


def everything_about(run: Run) -> None:
    """Reprs of what is there, and what an open inspection of the objects shows."""
    service = run.service
    parts = [service, service.keys(), service.device, service.table, service.table.store, *service.table.rows().items()]
    run.log.note(*map(repr, parts), *map(str, parts))


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def ran(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """All of it done on one backend, closed, its files still there."""
    backend: Backend = request.param
    secrets = Secrets()
    words = secrets.make("passphrase", 18).hex()
    secrets.add("passphrase as typed", words.encode())
    monkeypatch.setattr(backends, "WORDS", words)
    with everything() as log:
        with opened(backend, tmp_path) as service:
            run = Run(service, secrets, log)
            for algorithm in [found for found in CARD_ALGORITHMS if found in algorithms(service)]:
                card_operations(run, algorithm)
                custody(run, algorithm)
                if isinstance(service, StoreKeyService):
                    transit_operations(run, algorithm)
            if Algorithm.SM2 in algorithms(service):
                pairs(run)
            everything_about(run)
            run.attempt(lambda: service.destroy(KeyRef("absent", Algorithm.SM4)))
        run.attempt(service.keys)
        if (tmp_path / "store").exists():
            run.attempt(lambda: SoftKeyService.open(tmp_path / "store", words + "?"))
            run.attempt(lambda: SoftKeyService.create(tmp_path / "store", words))
        yield run


def test_no_secret_in_logs_errors_and_reprs(ran: Run, capfd: pytest.CaptureFixture[str]) -> None:
    text = ran.log.text.getvalue()
    assert len(ran.secrets.values) > 20
    for word in ("KeyPurposeError", "KeyExistsError", "BadInputError", "Traceback", "IRK/"):
        assert word in text, "the run did not come to what it should provoke"
    assert ran.secrets.found_in(text) == []
    out, err = capfd.readouterr()
    assert ran.secrets.found_in(out + err) == []


def test_no_secret_in_files(ran: Run, tmp_path: Path) -> None:
    """The store, its lock, its use counts and whatever else is there; temporary files are gone."""
    found = files(tmp_path)
    assert "store" in found
    for name, content in found.items():
        assert ran.secrets.found_in(content) == [], name
        assert ran.secrets.found_in(name) == []
        assert not name.endswith((".tmp", ".new"))


def test_objects_of_the_engines_show_nothing() -> None:
    secrets = Secrets()
    private = secrets.make("private", 32)
    with everything() as log:
        for engine in engines():
            public = engine.sm2_public_key(private)
            signature = engine.sm2_sign(private, b"m")
            for call in (
                lambda e=engine: e.sm2_sign(private + b"1", b"m"),
                lambda e=engine: e.sm2_decrypt(private, bytes(120)),
                lambda e=engine: e.sm4_ecb(private, b""),
                lambda e=engine: e.des_ecb(private, b""),
                lambda e=engine: e.sm4_gcm_open(private[:16], bytes(12), bytes(16), b""),
            ):
                with pytest.raises(HsmError) as refused:
                    call()
                log.note_error(refused.value)
            log.note(engine, vars(engine), signature.hex(), public.hex(), repr(SoftKey(engine, Algorithm.SM4, private)))
            kept = getattr(engine, "_kept", None)
            log.note(kept and vars(kept), *(map(repr, kept._keys.items()) if kept else ()))
    assert secrets.found_in(log.text.getvalue()) == []


def test_the_search_finds_every_spelling() -> None:
    secrets = Secrets()
    value = secrets.make("planted")
    upper = value.hex().upper()
    for text in (
        b"\0\xff" + value + b"z",
        f"key={value.hex()};",
        f"KEY={upper};",
        upper[:2] + " " + " ".join(upper[at : at + 2] for at in range(2, 32, 2)),
        f"{value!r}",
        f"{bytearray(value)!r}",
        f"{list(value)}",
        str(int.from_bytes(value)),
        f"{int.from_bytes(value):x}",
        *(base64.b64encode(bytes(at) + value + b"tail") for at in range(6)),
        *(base64.urlsafe_b64encode(b"x" * at + value) for at in range(3)),
    ):
        assert secrets.found_in(text), text
    assert secrets.found_in(b"nothing " * 50) == []
    assert len({needle for _, needle, _ in forms(value)}) > 8


def test_the_log_catches_what_a_logger_is_given(caplog: pytest.LogCaptureFixture) -> None:
    secrets = Secrets()
    value = secrets.make("logged")
    with everything() as log:
        logging.getLogger("hsm.new").log(1, "key %s", value)
    assert secrets.found_in(log.text.getvalue())
    with everything() as log:
        try:
            raise ValueError("outer") from HsmError(value.hex())
        except ValueError as error:
            log.note_error(error)
    assert secrets.found_in(log.text.getvalue())
