"""Acts on keys: two officers for what cannot be undone, the log of all of it, services that go on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cardlib.key_set import KeySet, current_set
from cardlib.spec import Generation, load
from hsm.api import Algorithm, CardFactors, KeyRef, KeyState, Purpose
from hsm.ceremony import secret_kcv
from hsm.primitives import default_engine
from hsm.soft import SoftKeyService
from onecard_cli.home import Home
from tests.onecard_cli.ceremony_home import PLACE, TWO, ceremony_home, passphrases, run, told

IRK = KeyRef("IRK", Algorithm.SM4)
FACTORS = CardFactors("990100", bytes(range(8)))
PART = [bytes(range(16)), bytes(range(40, 56))]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return ceremony_home(tmp_path)


@contextmanager
def opened(home: Path, passphrase: str = PLACE["ONECARD_PASSPHRASE"]) -> Iterator[SoftKeyService]:
    with SoftKeyService.open(home / "keys.json", passphrase) as service:
        yield service


def kcv(home: Path, key: KeyRef = IRK) -> str:
    with opened(home) as service:
        return service.info(key).kcv.hex().upper()


def component_files(folder: Path, *, wrong_at: int | None = None) -> list[str]:
    words = []
    for number, part in enumerate(PART):
        path = folder / f"component-{number}-{wrong_at}"
        check = secret_kcv(default_engine(), part if number != wrong_at else bytes(16)).hex()
        path.write_text(f"{part.hex()[:16]} {part.hex()[16:]} {check}\n")
        words += ["--component-from", str(path)]
    return words


def acts(home: Path) -> dict[str, tuple[str, ...]]:
    """Commands that take two officers, ready to run but for the officers."""
    importing = ("import", "RK_SSSE", "--version", "2", "--purpose", "authentication", "--level", "1")
    return {
        "import": (*importing, *component_files(home.parent)),
        "rotate": ("rotate", "IRK"),
        "rotate cards": ("rotate", "--cards"),
        "rotate store": ("rotate", "--store"),
        "retire": ("retire", "IRK/SM4/v1"),
        "destroy": ("destroy", "IRK/SM4/v1", "--kcv", kcv(home)),
    }


@pytest.mark.parametrize("act", ["import", "rotate", "rotate cards", "rotate store", "retire", "destroy"])
def test_what_cannot_be_undone_takes_two_different_officers(home: Path, act: str) -> None:
    command = acts(home)[act]
    before = (home / "keys.json").read_bytes()
    for officers, known, says in (
        ((), {}, "OFFICERS_NEEDED"),
        (("--officer", "甲"), {}, "OFFICERS_NEEDED"),
        (("--officer", "甲", "--officer", "甲"), passphrases("甲", "甲"), "OFFICERS_NEEDED"),
        (TWO, passphrases("甲", "丙"), "OFFICER_REFUSED"),
        (("--officer", "甲", "--officer", "丁"), {}, "OFFICER_REFUSED"),
    ):
        refused = run(home, *command, *officers, **known)
        assert (refused.exit_code, says in refused.output) == (1, True), refused.output
    assert (home / "keys.json").read_bytes() == before
    told_of = told(home, "log")["acts"]
    assert [entry["result"] for entry in told_of] == ["done"] + ["refused"] * 5
    assert all(entry["act"] == act for entry in told_of[1:])
    done = run(home, *command, *TWO)
    assert done.exit_code == 0, done.output
    last = told(home, "log")["acts"][-1]
    assert (last["who"], last["result"]) == (["甲", "乙"], "done")


def test_passphrases_may_be_piped_and_are_no_argument(home: Path) -> None:
    quiet = {"ONECARD_OFFICER_1_PASSPHRASE": "", "ONECARD_OFFICER_2_PASSPHRASE": ""}
    done = run(home, "retire", "IRK/SM4/v1", *TWO, typed="passphrase-one\npassphrase-two\n", **quiet)
    assert done.exit_code == 0, done.output


def test_rotation_stops_nobody(home: Path) -> None:
    """A service computes all the while; cards of both versions go on, new ones get the new key."""
    expected = {}
    errors: list[BaseException] = []
    rounds, stop = [0], threading.Event()
    with opened(home) as service:
        expected = service.authentication_value(IRK, FACTORS, bytes(8), bytes(8))

        def work() -> None:
            try:
                while not stop.is_set():
                    assert service.authentication_value(IRK, FACTORS, bytes(8), bytes(8)) == expected
                    rounds[0] += 1
            except BaseException as error:
                errors.append(error)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            for command in (("rotate", "IRK"), ("rotate", "--store"), ("rotate", "IRK", "--days", "10")):
                done = run(home, *command, *TWO)
                assert done.exit_code == 0, done.output
            changed = run(home, "passphrase", *TWO, ONECARD_NEW_PASSPHRASE="another horse battery")
            assert changed.exit_code == 0, changed.output
            seen = rounds[0]
            while rounds[0] < seen + 5 and worker.is_alive():
                stop.wait(0.01)
        finally:
            stop.set()
            worker.join()
        assert errors == []
        assert service.current("IRK", Algorithm.SM4) == KeyRef("IRK", Algorithm.SM4, 3)
        assert [service.info(KeyRef("IRK", Algorithm.SM4, n)).state for n in (1, 2, 3)] == [
            KeyState.RETIRED,
            KeyState.RETIRED,
            KeyState.ACTIVE,
        ]
    with opened(home, "another horse battery") as service:
        assert service.authentication_value(IRK, FACTORS, bytes(8), bytes(8)) == expected
    wrong = run(home, "status")
    assert "KEY_STORE_LOCKED" in wrong.output


def card_keys(home: Path) -> dict[int, set[KeyState]]:
    """States of the nation's card keys that are diversified, by version."""
    names = {key.name for key in load(Generation.V3).keys if key.root_level}
    found: dict[int, set[KeyState]] = {}
    with opened(home) as service:
        known = service.keys()
        for info in known:
            if info.ref.name in names and info.ref.algorithm is Algorithm.SM4 and not info.ref.region:
                found.setdefault(info.ref.version, set()).add(info.state)
    return found


def test_one_command_makes_a_whole_new_set_of_card_keys(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(home, "rotate", "RK_SSSE", *TWO)
    before = kcv(home, KeyRef("IRK", Algorithm.TDES)), kcv(home, KeyRef("TK", Algorithm.SM4))
    seen, make = [], SoftKeyService.generate

    def interrupted(service: SoftKeyService, key: KeyRef, *rest: object, **options: object) -> object:
        seen.append(key.name)
        if key.name == "IRK":
            raise OSError("no power")
        return make(service, key, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(SoftKeyService, "generate", interrupted)
        assert run(home, "rotate", "--cards", *TWO).exit_code == 1
    assert seen[-1] == "IRK", "which makes the set"
    with opened(home) as service:
        assert service.current("IRK", Algorithm.SM4).version == current_set(service, Algorithm.SM4) == 1
        assert service.info(KeySet(service, Algorithm.SM4).ref("UK_SSSE")).state is KeyState.ACTIVE
    done = run(home, "rotate", "--cards", "--days", "3650", *TWO)
    assert done.exit_code == 0, done.output
    states = card_keys(home)
    assert [states[version] for version in sorted(states)[:-1]] == [{KeyState.RETIRED}] * (len(states) - 1)
    assert states[max(states)] == {KeyState.ACTIVE}
    with opened(home) as service:
        new = KeySet(service, Algorithm.SM4, current_set(service, Algorithm.SM4))
        every = {new.ref(key.name) for key in load(Generation.V3).keys if key.root_level}
        assert {ref.version for ref in every} == {max(states)}
        assert (service.info(new.ref("STK")).purpose, service.info(new.ref("STK")).level) == (Purpose.MESSAGE, 3)
    assert before == (kcv(home, KeyRef("IRK", Algorithm.TDES)), kcv(home, KeyRef("TK", Algorithm.SM4)))
    last = told(home, "log")["acts"][-1]
    assert (last["act"], last["key"], last["result"]) == ("rotate cards", f"IRK/SM4/v{max(states)}", "done")


@pytest.mark.parametrize("words", [(), ("IRK", "--cards"), ("--cards", "--store"), ("--cards", "--components", "2"),
                                   ("--cards", "--region", "990000"), ("--cards", "--algorithm", "SM2")])  # fmt: skip
def test_what_does_not_go_together_is_told(home: Path, words: tuple[str, ...]) -> None:
    refused = run(home, "rotate", *words, *TWO)
    assert refused.exit_code == 1
    assert ("KEY_NOT_FOUND" if "SM2" in words else "INPUT_INVALID") in refused.output


@pytest.mark.parametrize("name", ["../x", "IRK/SM4", "a b", "a@990000", "", "x" * 65])
def test_a_name_that_could_not_be_named_again_is_refused(home: Path, name: str) -> None:
    refused = run(home, "keygen", name, "--purpose", "seal")
    assert (refused.exit_code, "INPUT_INVALID" in refused.output) == (1, True)
    verdict = told(home, "log", "--verify")
    assert (verdict["count"], verdict["acts"]) == (3, [])


def test_components_are_put_together_and_checked(home: Path) -> None:
    expected = secret_kcv(default_engine(), bytes(a ^ b for a, b in zip(*PART, strict=True))).hex().upper()
    command = ("import", "RK_SSSE", "--version", "2", "--purpose", "authentication", "--level", "1", *TWO)
    for wrong, says in (
        (component_files(home.parent, wrong_at=1), "SHARE_INVALID"),
        (component_files(home.parent)[:2], "INPUT_INVALID"),
        ([*component_files(home.parent), "--kcv", "000000"], "INPUT_INVALID"),
        (["--kek", "KEK/SM4/v1"], "INPUT_INVALID"),
        (["--kek", "KEK/SM4/v1", "--wrapped", "00" * 16, "--kcv", "000000"], "KEY_NOT_FOUND"),
    ):
        refused = run(home, *command, *wrong)
        assert (refused.exit_code, says in refused.output) == (1, True), refused.output
    with opened(home) as service:
        assert KeyRef("RK_SSSE", Algorithm.SM4, 2) not in service.table.rows()
    done = run(home, *command, *component_files(home.parent), "--kcv", expected, "--days", "400")
    assert (done.exit_code, expected in done.output) == (0, True), done.output
    typed = "\n".join(line for part in PART for line in (part.hex(), secret_kcv(default_engine(), part).hex()))
    again = run(home, "rotate", "RK_SSSE", "--components", "2", *TWO, typed=typed)
    assert (again.exit_code, f"RK_SSSE/SM4/v3 {expected}" in again.output) == (0, True), again.output


def test_a_key_comes_under_a_transport_key(home: Path, tmp_path: Path) -> None:
    kek, parts = KeyRef("KEK", Algorithm.SM4), PART
    with opened(home) as service:
        service.import_components(kek, Purpose.TRANSPORT, parts)
        wrapped, check = service.wrap_root(IRK, region="990100", level=3, kek=kek)
    command = ("import", "IRK", "--version", "9", "--region", "990100", "--purpose", "authentication", "--level", "3")
    under = ("--kek", "KEK/SM4/v1", "--wrapped", wrapped.hex())
    assert run(home, *command, *under, "--kcv", "000000", *TWO).exit_code == 1
    assert run(home, *command, *under, "--kcv", check.hex(), *TWO).exit_code == 0
    with opened(home) as service:
        arrived = KeyRef("IRK", Algorithm.SM4, 9, "990100")
        assert service.card_kcv(arrived, FACTORS) == service.card_kcv(IRK, FACTORS)


def test_destruction_wants_the_check_value_and_numbers_do_not_come_back(home: Path) -> None:
    refused = run(home, "destroy", "IRK/SM4/v1", "--kcv", "000000", *TWO)
    assert (refused.exit_code, "INPUT_INVALID" in refused.output) == (1, True)
    assert run(home, "rotate", "IRK", *TWO).exit_code == 0
    second = KeyRef("IRK", Algorithm.SM4, 2)
    assert run(home, "destroy", "IRK/SM4/v2", "--kcv", kcv(home, second), *TWO).exit_code == 0
    assert "KEY_NOT_FOUND" in run(home, "rotate", "IRK", *TWO).output
    with opened(home) as service:
        service.generate(KeyRef("IRK", Algorithm.SM4, 1, "120000"), Purpose.AUTHENTICATION, level=2)
        service.destroy(KeyRef("IRK", Algorithm.SM4, 1, "120000"))
        service.destroy(IRK)
        service.generate(IRK, Purpose.AUTHENTICATION, level=1)
    done = run(home, "rotate", "IRK", *TWO)
    assert "IRK/SM4/v3" in done.output


def test_a_destroyed_key_stays_destroyed_in_a_development_home(tmp_path: Path) -> None:
    assert run(tmp_path, "init").exit_code == 0
    with opened(tmp_path) as service:
        checks = {str(ref): service.info(ref).kcv.hex() for ref in (IRK, KeyRef("TR_DPK", Algorithm.SM4))}
    for name, check in checks.items():
        assert run(tmp_path, "destroy", name, "--kcv", check).exit_code == 0
    kept = {key["key"] for key in told(tmp_path, "status")["keys"]}
    assert not kept & checks.keys()


@pytest.mark.parametrize("name", ["onecard-acts", "onecard-officers"])
def test_the_commands_own_keys_are_not_theirs_to_give(home: Path, name: str) -> None:
    for command in (
        ("destroy", f"{name}/SM4/v1", "--kcv", "000000"),
        ("retire", f"{name}/SM4/v1"),
        ("rotate", name),
        ("keygen", name, "--purpose", "seal"),
        ("import", name, "--purpose", "seal"),
    ):
        officers = TWO if command[0] != "keygen" else ()
        refused = run(home, *command, *officers)
        assert (refused.exit_code, "INPUT_INVALID" in refused.output) == (1, True), refused.output


def test_a_passphrase_change_cut_in_the_middle_locks_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise OSError("power cut")

    monkeypatch.delenv("ONECARD_PASSPHRASE", raising=False)
    home = Home.at(tmp_path)
    home.key_service().close()
    first = home.passphrase()
    with monkeypatch.context() as patch:
        patch.setattr(Home, "take_passphrase", killed)
        cut = run(tmp_path, "passphrase", ONECARD_PASSPHRASE=None, ONECARD_NEW_PASSPHRASE="a second passphrase")
        assert cut.exit_code == 1
    home.key_service().close()
    assert home.passphrase() == "a second passphrase" != first
    assert not home.next_passphrase_file.exists()
    for path in tmp_path.iterdir():
        assert path.name == "lock" or path.stat().st_mode & 0o077 == 0, path.name


def test_a_touched_log_is_told_and_stops_further_acts(home: Path) -> None:
    assert run(home, "rotate", "IRK", *TWO).exit_code == 0
    log = home / "keys.json.acts"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    refused = run(home, "log", "--verify")
    assert (refused.exit_code, "ACT_LOG_BROKEN" in refused.output, "entry 3" in refused.output) == (1, True, True)
    assert "entry 3" in told(home, "status")["log"]
    before = (home / "keys.json").read_bytes()
    assert "ACT_LOG_BROKEN" in run(home, "retire", "IRK/SM4/v1", *TWO).output
    assert (home / "keys.json").read_bytes() == before
    log.write_bytes(b"".join(lines))
    assert "untouched" in run(home, "log", "--verify").output


def test_status_warns_of_terms(home: Path) -> None:
    assert run(home, "keygen", "SOON", "--purpose", "seal", "--days", "5").exit_code == 0
    assert run(home, "keygen", "LATER", "--purpose", "seal", "--days", "90").exit_code == 0
    with opened(home) as service:
        service.generate(KeyRef("OVER", Algorithm.SM4), Purpose.SEAL, expires=1)
        service.authentication_value(IRK, FACTORS, bytes(8), bytes(8))
    found = told(home, "status")
    rows = {row["key"]: row for row in found["keys"]}
    warned = {key: row["warning"] for key, row in rows.items() if row["warning"]}
    assert warned.keys() == {"SOON/SM4/v1", "OVER/SM4/v1"}
    assert "past its term" in warned["OVER/SM4/v1"]
    assert (rows["IRK/SM4/v1"]["uses"] >= 1, rows["IRK/SM4/v1"]["age_days"]) == (True, 0)
    assert rows["IRK/SM4/v1@990100"]["region"] == "990100"
    assert found["officers"] == ["甲", "乙", "丙"]
    assert "SOON/SM4/v1" in run(home, "status").output


@pytest.mark.parametrize(
    ("options", "says", "status"),
    [
        (("--kcv", "{right}"), "right", 0),
        (("--kcv", "{root}"), "not diversified", 1),
        (("--kcv", "{province}"), "IRK/SM4/v1 province", 1),
        (("--kcv", "{backwards}"), "card backwards", 1),
        (("--kcv", "{tdes}"), "IRK/3DES/v1", 1),
        (("--kcv", "000000"), "no known mistake", 1),
        (("--cryptogram", "{cryptogram}", "--challenge", "00" * 8, "--original", "00" * 8), "right", 0),
        (("--cryptogram", "00" * 8), "INPUT_INVALID", 1),
    ],
)
def test_which_factor_is_wrong(home: Path, options: tuple[str, ...], says: str, status: int) -> None:
    with opened(home) as service:
        steps = service.diversification(IRK, FACTORS)
        facts = {
            "right": steps[-1].kcv,
            "root": steps[0].kcv,
            "province": steps[1].kcv,
            "backwards": service.card_kcv(IRK, CardFactors("990100", FACTORS.card[::-1])),
            "tdes": service.card_kcv(KeyRef("IRK", Algorithm.TDES), FACTORS),
            "cryptogram": service.authentication_value(IRK, FACTORS, bytes(8), bytes(8)),
        }
    words = [word.format(**{name: value.hex() for name, value in facts.items()}) for word in options]
    found = run(home, "derive", "IRK", "--region", "990100", "--card", FACTORS.card.hex(), *words)
    assert (found.exit_code, says in found.output) == (status, True), found.output


def test_no_secret_in_what_is_said(home: Path) -> None:
    said = "".join(
        run(home, *command, *TWO).output for command in (("rotate", "IRK"), ("rotate", "--store"), ("retire", "X"))
    )
    said += run(home, "status").output + run(home, "log").output
    assert "passphrase-one" not in said
    assert PLACE["ONECARD_PASSPHRASE"] not in said
