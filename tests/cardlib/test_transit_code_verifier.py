"""The gate under attack: what no vector can hold – memory, clocks, caches, threads, files of roots."""

import json
import threading
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.spec.transit_code import code_profile
from cardlib.transit_code import TransitCodeError, TransitCodeMalformedError
from cardlib.transit_code_anchors import MAX_BYTES, TransitAnchorsError, TrustAnchor, TrustAnchors
from cardlib.transit_code_issuer import issue_certificate
from cardlib.transit_code_uses import (
    ClockSetBackError,
    FileUses,
    MemoryUses,
    UsesFullError,
    UsesUnavailableError,
)
from cardlib.transit_code_verifier import (
    CHECKS,
    KNOWN_CERTIFICATES,
    AccountBlockedError,
    AmountError,
    CertificateExpiredError,
    CodeDuplicateError,
    CodeExpiredError,
    CodeFromFutureError,
    GatePolicy,
    IssuerForgedError,
    RootUnknownError,
    TransitCodeVerifier,
    UserForgedError,
)
from hsm.primitives import compress, default_engine
from tests.cardlib.transit_code_stand import ISSUER, NOW, ROOT, VECTORS, Stand, code, keys, vector_anchors, vector_gate


@pytest.fixture(scope="module")
def stand() -> Stand:
    return Stand()


class CountingEngine:
    """Counts verifications; everything else is the real engine's."""

    def __init__(self) -> None:
        self.verified = 0

    def __getattr__(self, name: str) -> object:
        return getattr(default_engine(), name)

    def sm2_verify(self, *arguments: object, **more: object) -> bool:
        self.verified += 1
        return default_engine().sm2_verify(*arguments, **more)


class NoUses:
    """A store that is away."""

    def claim(self, name: bytes, until: int, now: int) -> bool:
        raise UsesUnavailableError("away")


@pytest.mark.parametrize("profile", ["a_c", "b"])
def test_issued_shown_and_accepted_once(profile: str) -> None:
    stand = Stand(profile=code_profile(profile))
    gate, raw = stand.gate(), stand.show(custom=b"metro")
    assert gate.verify(raw, 2000).encode(stand.profile) == raw
    with pytest.raises(CodeDuplicateError):
        gate.verify(raw)
    assert gate.verify(stand.show(stand.now + 1)).generated_at == stand.now + 1


def test_any_changed_byte_is_refused() -> None:
    """Each byte with one bit flipped; every bit of the shorter code would be eight times as slow."""
    gate, raw = vector_gate(), code("custom-1")
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :]
        with pytest.raises(TransitCodeError):
            gate.verify(changed)
    gate.verify(raw)


def test_steady_state_is_two_verifications(stand: Stand) -> None:
    engine = CountingEngine()
    gate = stand.gate(engine=engine)
    gate.verify(stand.show())
    assert engine.verified == 3
    gate.verify(stand.show(stand.now - 1))
    assert engine.verified == 5


def test_a_known_certificate_lends_nothing_to_another_of_its_serial(stand: Stand) -> None:
    gate = stand.gate()
    gate.verify(stand.show())
    forger = Stand()
    forged = replace(stand.certificate(), public_key=compress(default_engine().sm2_generate()[1]))
    raw = forger.show(custom=b"x")
    with pytest.raises(IssuerForgedError):
        gate.verify(raw[:3] + forged.encode() + raw[120:])
    gate.verify(raw)


def test_known_certificates_are_few_and_still_expire(stand: Stand) -> None:
    """A certificate seen before is refused after its month, and after its root is taken off the list."""
    now = [NOW]
    gate = TransitCodeVerifier(stand.anchors(), clock=lambda: now[0])
    for number in range(KNOWN_CERTIFICATES + 3):
        certificate = stand.certificate(serial=number.to_bytes(3, "big"))
        gate.verify(stand.show(certificate=certificate))
    assert len(gate._known) == KNOWN_CERTIFICATES
    now[0] = certificate.ends_at
    late = Stand(now=now[0], private=stand.private)
    with pytest.raises(CertificateExpiredError):
        gate.verify(late.show(certificate=certificate))
    gate.anchors = TrustAnchors([TrustAnchor(8, "other", keys().public_key(ROOT), date(2036, 1, 1))])
    now[0] = NOW
    with pytest.raises(RootUnknownError):
        gate.verify(stand.show(NOW - 1, certificate=certificate))
    gate.anchors = TrustAnchors([TrustAnchor(7, "same index", keys().public_key(ISSUER), date(2036, 1, 1))])
    with pytest.raises(IssuerForgedError):
        gate.verify(stand.show(NOW - 1, certificate=certificate))


def test_root_may_not_vouch_under_another_index(stand: Stand) -> None:
    """The index is outside the root's signature; a second root of that index must not make it good."""
    roots = [TrustAnchor(7, "issuer's root", keys().public_key(ROOT), date(2036, 1, 1))]
    roots.append(TrustAnchor(8, "another", default_engine().sm2_generate()[1], date(2036, 1, 1)))
    gate = TransitCodeVerifier(TrustAnchors(roots), clock=lambda: NOW)
    with pytest.raises(IssuerForgedError):
        gate.verify(stand.show(certificate=replace(stand.certificate(), root_index=8)))


@pytest.mark.parametrize("ahead", range(-2, 3))
def test_clock_skew_is_exact(stand: Stand, ahead: int) -> None:
    """Only a phone that is ahead is given the skew; one that is behind shortens its own code."""
    gate = stand.gate(policy=GatePolicy(clock_skew_s=1))
    if ahead > 1:
        with pytest.raises(CodeFromFutureError):
            gate.verify(stand.show(NOW + ahead))
    else:
        gate.verify(stand.show(NOW + ahead))
    with pytest.raises(CodeExpiredError):
        stand.gate(policy=GatePolicy(clock_skew_s=30)).verify(stand.show(NOW - 61))


def test_policy_shortens_what_the_issuer_allows(stand: Stand) -> None:
    gate = stand.gate(policy=GatePolicy(max_validity_s=20))
    gate.verify(stand.show(NOW - 20))
    with pytest.raises(CodeExpiredError):
        gate.verify(stand.show(NOW - 21))
    with pytest.raises(ValueError, match="negative"):
        GatePolicy(clock_skew_s=-1)


def test_refused_code_is_not_spent(stand: Stand) -> None:
    gate, raw = stand.gate(), stand.show(amount_limit_fen=200)
    with pytest.raises(AmountError):
        gate.verify(raw, 201)
    assert next(finding.error for finding in gate.findings(raw, 201) if finding.error).failure == "TRANSIT_CODE_AMOUNT"
    gate.verify(raw, 200)
    with pytest.raises(ValueError, match="negative"):
        gate.verify(raw, -1)


def test_blocked_types_are_the_operators(stand: Stand) -> None:
    raw = stand.show(account_type=0x42)
    with pytest.raises(AccountBlockedError):
        stand.gate(policy=GatePolicy(blocked_account_types=frozenset([0x42]))).verify(raw)
    stand.gate().verify(raw)


def test_nothing_passes_without_a_memory(stand: Stand) -> None:
    with pytest.raises(UsesUnavailableError):
        stand.gate(used=NoUses()).verify(stand.show())
    with pytest.raises(RootUnknownError):
        TransitCodeVerifier(TrustAnchors([]), clock=lambda: NOW).verify(stand.show())


def test_a_point_off_the_curve_never_reaches_the_cipher(stand: Stand) -> None:
    private, _ = default_engine().sm2_generate()
    raw = Stand(private=private).show()
    off = raw[:158] + b"\x02" + b"\xff" * 32 + raw[191:]
    with pytest.raises(TransitCodeError):
        stand.gate().verify(off)
    with pytest.raises(TransitCodeMalformedError, match="curve"):
        stand.gate()._point(b"\x02" + b"\xff" * 32)


def test_findings_tell_every_fault_at_once(stand: Stand) -> None:
    """Wrong root, expired, forged by another phone, blocked; what hangs on an earlier fault is left out."""
    raw = stand.show(NOW - 100, account_type=0xDD)
    findings = list(TransitCodeVerifier(TrustAnchors([]), clock=lambda: NOW).findings(raw[:-1] + bytes([raw[-1] ^ 1])))
    assert len(findings) == len(CHECKS) + 1
    assert [finding.error.failure.removeprefix("TRANSIT_CODE_") for finding in findings if finding.error] == [
        "ROOT_UNKNOWN",
        "EXPIRED",
        "USER_FORGED",
        "ACCOUNT_BLOCKED",
    ]
    assert [finding.name_en for finding in findings if finding.mark == "skipped"] == [
        "root's signature of the certificate",
        "not used before",
    ]
    assert [finding.mark for finding in stand.gate().findings(b"\x81")] == ["failed"]
    assert all(finding.mark == "passed" for finding in stand.gate().findings(stand.show()))


def test_self_made_certificate_of_a_listed_index_is_refused(stand: Stand) -> None:
    """The fault seen in the field: checking the certificate with the key inside it."""
    own = issue_certificate(
        keys(),
        ISSUER,
        root_index=7,
        issuer="99010001",
        expires="1230",
        serial=bytes(3),
        public_key=keys().public_key(ISSUER),
    )
    with pytest.raises(IssuerForgedError):
        stand.gate().verify(stand.show(certificate=own))


# -- memory of used codes -------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "file"])
def uses(request, tmp_path):
    if request.param == "memory":
        yield MemoryUses(capacity=3)
        return
    store = FileUses(tmp_path / "uses.db", capacity=3)
    yield store
    store.close()


def test_memory_keeps_names_until_they_cannot_pass(uses) -> None:
    assert uses.claim(b"a", 110, 100)
    assert not uses.claim(b"a", 110, 110)
    assert uses.claim(b"b", 110, 110)
    assert uses.claim(b"c", 200, 110)
    with pytest.raises(UsesFullError):
        uses.claim(b"d", 200, 110)
    assert not uses.claim(b"c", 200, 110)
    assert uses.claim(b"d", 200, 111)
    with pytest.raises(ClockSetBackError):
        uses.claim(b"a", 110, 100)


def test_two_gates_with_one_memory_accept_once(stand: Stand, uses) -> None:
    raw, accepted, refused = stand.show(), [], []
    gates = [stand.gate(used=uses) for _ in range(4)]
    together = threading.Barrier(len(gates))

    def present(gate: TransitCodeVerifier) -> None:
        together.wait()
        try:
            accepted.append(gate.verify(raw))
        except CodeDuplicateError as error:
            refused.append(error)

    threads = [threading.Thread(target=present, args=(gate,)) for gate in gates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(accepted), len(refused)) == (1, 3)


def test_a_file_remembers_across_a_restart(tmp_path) -> None:
    for is_first in (True, False):
        store = FileUses(tmp_path / "uses.db")
        assert store.claim(b"a", 200, 100) is is_first
        store.close()
    with pytest.raises(UsesUnavailableError):
        store.claim(b"b", 200, 100)
    (tmp_path / "other").write_bytes(b"no database" * 100)
    with pytest.raises(UsesUnavailableError):
        FileUses(tmp_path / "other")


# -- file of roots --------------------------------------------------------------------------------------------------


def test_roots_come_back_from_their_file() -> None:
    anchors = vector_anchors()
    assert [(anchor.index, anchor.name) for anchor in anchors] == [(1, "root 1"), (2, "root 2"), (3, "root 3")]
    assert list(TrustAnchors.parse(anchors.encode())) == list(anchors)


FIRST = VECTORS["anchors"]["anchors"][0]


@pytest.mark.parametrize(
    "table",
    [
        [],
        {},
        {"format": "transit-anchors-2", "anchors": [FIRST]},
        {"format": "transit-anchors-1", "anchors": []},
        {"format": "transit-anchors-1", "anchors": {"1": FIRST}},
        {"format": "transit-anchors-1", "anchors": [FIRST], "more": 1},
        *(
            {"format": "transit-anchors-1", "anchors": rows}
            for rows in (
                [FIRST, FIRST],
                [FIRST, None],
                [FIRST | {"more": 1}],
                [FIRST | {"index": True}],
                [FIRST | {"index": 256}],
                [FIRST | {"index": "1"}],
                [FIRST | {"name": ""}],
                [FIRST | {"name": "x" * 101}],
                [FIRST | {"public_key": "02" + "FF" * 32}],
                [FIRST | {"public_key": FIRST["public_key"] + "00"}],
                [FIRST | {"public_key": "zz"}],
                [FIRST | {"not_after": "2036-02-30"}],
                [FIRST | {"not_after": "20361231"}],
                [FIRST | {"not_after": "9999-12-31"}],
            )
        ),
    ],
)
def test_a_doubtful_list_of_roots_is_refused_whole(table: object) -> None:
    with pytest.raises(TransitAnchorsError):
        TrustAnchors.parse(json.dumps(table).encode())


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | st.integers().map(lambda n: b"[" * (n % 5000)))
@settings(max_examples=100)
def test_any_other_file_is_refused(raw: bytes) -> None:
    with pytest.raises(TransitAnchorsError):
        TrustAnchors.parse(raw)


def test_a_doubled_key_and_a_huge_file_are_refused() -> None:
    text = vector_anchors().encode().decode()
    with pytest.raises(TransitAnchorsError, match="twice"):
        TrustAnchors.parse(text.replace('"index": 1,', '"index": 1, "index": 2,').encode())
    with pytest.raises(TransitAnchorsError, match="bytes"):
        TrustAnchors.parse(text.encode() + b" " * MAX_BYTES)


def test_user_signature_must_be_the_phones(stand: Stand) -> None:
    raw = stand.show()
    signature = keys().sign(ISSUER, raw[:-65], user_id=b"1234567812345678")
    with pytest.raises(UserForgedError):
        stand.gate().verify(raw[:-64] + signature)
    with pytest.raises(UserForgedError):
        # The right key under the key service's own default, an empty user id.
        stand.gate().verify(raw[:-64] + default_engine().sm2_sign(stand.private, raw[:-65], user_id=b""))
