"""The proof of a consent, as a third party checks it: with the published fingerprint and nothing of the centre's."""

from __future__ import annotations

import asyncio
import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from issuance.audit import verifier
from issuance.audit.report import fingerprints, verify_log
from issuance.audit.sequencer import sequence_due
from issuance.consents.evidence import check_evidence, main
from tests.issuance.audit_log.stand import unprotect
from tests.issuance.conftest import both_engines, ok, refused
from tests.issuance.consents.stand import Consents

Proof = dict[str, Any]


async def proof_of(consents: Consents, consent_id: str) -> tuple[Proof, set[str]]:
    services = consents.centre.app.state.services
    await sequence_due(services)
    proof: Proof = ok(await consents.phone.get(f"consents/{consent_id}/proof"))
    return proof, set(fingerprints(services).values())


@pytest.fixture
async def proved(consents: Consents) -> tuple[Proof, set[str]]:
    """Of a consent that was used three times."""
    consent_id = await consents.granted()
    for _ in range(3):
        ok(await consents.data(consent_id))
    return await proof_of(consents, consent_id)


@both_engines
async def test_proof_holds_and_grows(consents: Consents) -> None:
    consent_id = await consents.granted()
    early = ok(await consents.phone.get(f"consents/{consent_id}/proof"))
    assert (early["waiting"], early["entries"]) == (2, [])
    proof, keys = await proof_of(consents, consent_id)
    assert check_evidence(proof, keys) == []
    assert [entry["entry"]["act"] for entry in proof["entries"]] == ["consent.request", "consent.approve"]
    ok(await consents.data(consent_id))
    refused(await consents.data(consent_id, ["photo"]), "CONSENT_ITEMS", 403)
    ok(await consents.phone.post(f"consents/{consent_id}/revoke"))
    proof, keys = await proof_of(consents, consent_id)
    assert check_evidence(proof, keys) == []
    assert (proof["of"], proof["waiting"], len(proof["entries"])) == (4, 0, 4)
    later = ok(await consents.phone.get(f"consents/{consent_id}/proof?first=3"))
    assert check_evidence(later, keys) == []
    assert later["entries"] == proof["entries"][2:]
    assert (await verify_log(consents.centre.app.state.services)).findings == []


async def test_verifier_alone_checks_an_entry(proved: tuple[Proof, set[str]], tmp_path: Path) -> None:
    """The file a regulator has, in a Python that knows nothing of this project; one entry, as it is and changed."""
    proof, keys = proved
    entry = proof["entries"][2]
    changed = copy.deepcopy(entry)
    changed["entry"]["detail"] = changed["entry"]["detail"].replace('"number": 3', '"number": 9')
    assert changed != entry
    file = tmp_path / "proof.json"
    for document, code in ((entry, 0), (changed, 1)):
        file.write_text(json.dumps(document), encoding="utf-8")
        command = [sys.executable, "-I", verifier.__file__, str(file), "--key", *keys]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        assert await process.wait() == code


def _entries(proof: Proof) -> list[Any]:
    entries: list[Any] = proof["entries"]
    return entries


CHANGES: dict[str, Callable[[Proof], object]] = {
    "an entry changed": lambda p: _entries(p)[2]["entry"].update(actor="nobody"),
    "its items changed": lambda p: _entries(p)[2]["entry"].update(detail='{"number": 3, "items": []}'),
    "an entry deleted": lambda p: p.update(entries=_entries(p)[:2] + _entries(p)[3:]),
    "the last one deleted": lambda p: p.update(entries=_entries(p)[:-1]),
    "the last one deleted and the count changed": lambda p: p.update(entries=_entries(p)[:-1], of=7),
    "the first one deleted": lambda p: p.update(entries=_entries(p)[1:]),
    "two change places": lambda p: p.update(entries=[_entries(p)[n] for n in (0, 1, 3, 2, 4)]),
    "one stands twice": lambda p: p.update(entries=_entries(p)[:3] + _entries(p)[2:4]),
    "contents change places": lambda p: _entries(p)[2].update(entry=_entries(p)[3]["entry"]),
    "all gone": lambda p: p.update(entries=[]),
    "another text": lambda p: p.update(text=p["text"].replace("姓名", "照片")),
    "another consent": lambda p: p.update(id="0" * 32),
    "another signature": lambda p: p.update(signature="11" * 64),
    "no signature": lambda p: p.update(signature=None),
    "another key": lambda p: p.update(public_key=_entries(p)[0]["keys"]["1"]),
    "another head": lambda p: _entries(p)[1]["head"].update(size=_entries(p)[1]["head"]["size"] + 1),
    "a path cut": lambda p: _entries(p)[1].update(path=_entries(p)[1]["path"][1:]),
}


async def test_whatever_is_changed_is_found(proved: tuple[Proof, set[str]]) -> None:
    proof, keys = proved
    assert check_evidence(proof, keys) == []
    for name, change in CHANGES.items():
        changed = copy.deepcopy(proof)
        change(changed)
        assert check_evidence(changed, keys), name


async def test_only_published_keys_count(proved: tuple[Proof, set[str]], tmp_path: Path) -> None:
    proof, keys = proved
    assert len(check_evidence(proof, {"00" * 32})) == len(proof["entries"])
    file = tmp_path / "proof.json"
    for text, code in ((json.dumps(proof), 0), (json.dumps(proof | {"of": 9}), 1), ("{}", 2), ("[", 2), ("[]", 2)):
        file.write_text(text, encoding="utf-8")
        assert main([str(file), "--key", *keys]) == code


@settings(max_examples=60)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)))
def test_anything_is_a_proof_or_no_proof(value: Any) -> None:
    names = ("onecard_consent", "id", "text", "public_key", "signature", "first", "of", "waiting", "entries")
    for document in (value, dict.fromkeys(names, value), dict.fromkeys(names, value) | {"onecard_consent": 1}):
        try:
            check_evidence(document, {"00" * 32})
        except verifier.FormatError:
            continue


async def test_the_log_itself_misses_what_is_gone(consents: Consents) -> None:
    consent_id = await consents.granted()
    ok(await consents.data(consent_id))
    services = consents.centre.app.state.services
    await sequence_due(services)
    query = "SELECT id FROM audit_entries WHERE subject = :subject ORDER BY id"
    ids = consents.centre.store.sql(query, subject=f"consent:{consent_id}")
    unprotect(consents.centre.store)
    consents.centre.store.sql("DELETE FROM audit_entries WHERE id = :id", id=ids[0][0])
    consents.centre.store.sql("UPDATE audit_entries SET actor = 'nobody' WHERE id = :id", id=ids[-1][0])
    found = {(finding.kind, finding.entry_id) for finding in (await verify_log(services)).findings}
    assert {("entry_missing", ids[0][0]), ("entry_changed", ids[-1][0])} <= found
