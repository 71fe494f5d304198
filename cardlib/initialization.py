"""Stage 2, pre-personalisation (预个人化): structure and keys into an activated chip (draft P10 §5.2).

Commands follow the reference COS profile; real COS differ, which is why they are built in this module only.
A torn structure is deleted under the temporary master key and built again; the card's own master keys replace the
temporary ones last, the SSSE's at the very end, so that until then a failed card can be wiped (P10 §5.2.3, §5.2.6).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from apdu.command import CommandApdu
from apdu.response import ResponseApdu
from cardlib import commands as c
from cardlib.identity import card_factor
from cardlib.key_set import KeySet, set_of_answer, set_versions
from cardlib.script import Batch, Script, ScriptError, ScriptStep, derive
from cardlib.spec import CardSpec, DfSpec, Generation, load
from cardlib.spec.names import SSSE_NAME
from cardlib.spec.rcp import create_df, create_ef, directory_records, key_record_header, pin_record_header
from hsm.api import Algorithm, CardFactors, KeyRef, KeyService

_INSTALL, _REPLACE, _FIRST_MASTER = 0x00, 0x01, 0x02
"""P1 of WRITE KEY (reference COS profile)."""


class LifeCycle(IntEnum):
    """Life-cycle states of the reference COS profile, as GET CARD STATUS answers them."""

    CHIP = 0
    ACTIVATED = 1
    STRUCTURED = 2
    PRE_PERSONALISED = 3
    ISSUED = 4


@dataclass(frozen=True, slots=True)
class CardStatus:
    """Answer of GET CARD STATUS (reference COS profile)."""

    state: LifeCycle
    algorithm: Algorithm
    is_blocked: bool
    transport_tries: int
    master_tries: int

    @classmethod
    def from_bytes(cls, raw: bytes) -> CardStatus:
        """Raises ScriptError CARD_UNSUPPORTED for an answer not of this profile, CARD_STATE for a bare chip."""
        algorithms = {0x00: Algorithm.TDES, 0x03: Algorithm.SM4}
        if len(raw) != 10 or raw[0] > LifeCycle.ISSUED or raw[9] != 0x01:
            raise ScriptError("CARD_UNSUPPORTED", "GET CARD STATUS is not of the reference COS profile")
        state = LifeCycle(raw[0])
        if state is LifeCycle.CHIP:
            raise ScriptError("CARD_STATE", "the card maker has not activated this chip yet")
        if raw[1] not in algorithms:
            raise ScriptError("CARD_UNSUPPORTED", f"algorithm {raw[1]:02X} is not supported")
        return cls(state, algorithms[raw[1]], raw[8] != 0, raw[6], raw[7])


def algorithm_of(generation: Generation) -> Algorithm:
    """3.0 cards use SM4, earlier ones 3DES."""
    return Algorithm.SM4 if generation is Generation.V3 else Algorithm.TDES


@dataclass(frozen=True, slots=True)
class InitializationOrder:
    """What the depot asks for. `seed` (16 bytes) makes the session's randoms; `reset_information` is 13 bytes.

    `key_version` is the set of roots the card gets, `current_set` for a new one: it stays the same when the session is
    taken up again after a rotation.
    """

    seed: bytes
    generation: Generation
    region: str
    reset_information: bytes
    key_version: int

    def to_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed.hex(),
            "generation": self.generation.value,
            "region": self.region,
            "reset_information": self.reset_information.hex().upper(),
            "key_version": self.key_version,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> InitializationOrder:
        return cls(
            bytes.fromhex(data["seed"]),
            Generation(data["generation"]),
            data["region"],
            bytes.fromhex(data["reset_information"]),
            data["key_version"],
        )


def initialize(order: InitializationOrder, keys: KeyService) -> Script:
    """Turn an ACTIVATED or STRUCTURED card into a PRE-PERSONALISED one.

    Challenges: one per authentication and one per key. Raises ScriptError CARD_STATE for a chip not yet activated,
    ALREADY_ISSUED for an issued card, KEY_LAST_TRY before the last try of a master key would be spent, KeyExpiredError
    for a set of keys that is retired.
    """
    return _Initialization(order, keys).script()


class _Initialization:
    """State of one run; a method per stage of personalization.md §4."""

    def __init__(self, order: InitializationOrder, keys: KeyService) -> None:
        self._order = order
        self._keys = keys
        self._spec: CardSpec = load(order.generation)
        self._algorithm = algorithm_of(order.generation)
        self._factors = CardFactors(order.region, card_factor(order.reset_information))
        self._set = KeySet(keys, self._algorithm, order.key_version)
        self._applications = tuple(df for df in self._spec.dfs if not (df.is_environment or df.is_optional))
        self._fetched = b""
        self._batch = Batch()

    def script(self) -> Script:
        status = yield from self._read_status()
        if status.state is LifeCycle.PRE_PERSONALISED:
            return self._result("already", (yield from self._found_set()))
        self._batch.steps = self._expected_steps()
        if status.state is LifeCycle.STRUCTURED:
            self._batch.steps += 3
            yield from self._wipe()
        yield from self._authenticate(self._ref("TK"), 0x00, "出厂密钥认证", "Authenticating with the transport key")
        yield from self._build_environment()
        for df in self._applications:
            yield from self._build_application(df)
        yield from self._finish()
        if (yield from self._found_set()) != self._set.version:
            raise ScriptError("CARD_NOT_GENUINE", "the card has the IRK of another set of roots")
        return self._result("initialized", self._set.version)

    def _expected_steps(self) -> int:
        """One batch per challenge (each key, each authentication, the end) and the two around them."""
        environment = 3 + len(self._spec.keys_of("SSSE")) + 1
        applications = sum(3 + len(self._spec.keys_of(df.name)) for df in self._applications)
        return environment + applications + 3 + 1

    def _ref(self, name: str) -> KeyRef:
        return self._set.ref(name)

    def _result(self, outcome: str, key_version: int) -> dict[str, str]:
        return {
            "outcome": outcome,
            "generation": self._order.generation.value,
            "region": self._order.region,
            "reset_information": self._order.reset_information.hex().upper(),
            "key_version": str(key_version),
        }

    def _read_status(self) -> Generator[ScriptStep, list[ResponseApdu], CardStatus]:
        self._batch.add(c.get_card_status())
        # Fetched in the same round trip, for the first authentication; a chip not yet activated refuses.
        self._batch.add(c.get_challenge(), expect=("9000", "6985"))
        answers = yield from self._batch.send("读取卡片状态", "Reading the card's state")
        status = CardStatus.from_bytes(answers[0].data)
        self._fetched = answers[1].data
        if status.is_blocked:
            raise ScriptError("CARD_BLOCKED")
        if status.state is LifeCycle.ISSUED:
            raise ScriptError("ALREADY_ISSUED", "an issued card is never initialised again")
        if status.algorithm is not self._algorithm:
            raise ScriptError("CARD_STATE", f"a {status.algorithm} chip cannot become a {self._order.generation} card")
        if status.state is LifeCycle.ACTIVATED and status.transport_tries <= 1:
            raise ScriptError("KEY_LAST_TRY", "one try of the transport key is left; the card is put aside")
        return status

    def _authenticate(
        self, key: KeyRef, kid: int, text_zh: str, text_en: str
    ) -> Generator[ScriptStep, list[ResponseApdu], None]:
        """EXTERNAL AUTHENTICATION with `key`; the command waits in the batch for the caller's next `send`."""
        challenge, self._fetched = self._fetched, b""
        if not challenge:
            self._batch.add(c.get_challenge())
            answers = yield from self._batch.send(text_zh, text_en)
            challenge = answers[-1].data
        original = derive(self._order.seed, f"original {key} {challenge.hex()}", 8)
        value = self._keys.authentication_value(key, self._factors, challenge, original)
        self._batch.add(c.external_authentication(kid, value, original))

    def _wipe(self) -> Generator[ScriptStep, list[ResponseApdu], None]:
        """DELETE STRUCTURE under whichever master key the SSSE holds; each is tried once (personalization.md §10)."""
        self._fetched = b""
        for master in (yield from self._masters()):
            self._batch.add(c.select_name(SSSE_NAME))
            self._batch.add(c.get_card_status())
            self._batch.add(c.get_challenge())
            answers = yield from self._batch.send("清除未完成的结构", "Removing an unfinished structure")
            if CardStatus.from_bytes(answers[1].data).master_tries <= 1:
                raise ScriptError("KEY_LAST_TRY", "one try of the master key is left; the card is put aside")
            original = derive(self._order.seed, f"wipe {master}", 8)
            value = self._keys.authentication_value(master, self._factors, answers[2].data, original)
            self._batch.add(c.external_authentication(0x00, value, original), expect=("9000", "63Cx"))
            self._batch.add(c.get_challenge(c.KEY_LOAD_CHALLENGE))
            answers = yield from self._batch.send("主控密钥认证", "Authenticating with the master key")
            if answers[0].is_ok:
                mac = self._keys.master_mac(master, self._factors, answers[1].data, bytes.fromhex("84EE0000"))
                self._batch.add(c.delete_structure(mac))
                return
        raise ScriptError("AUTHENTICATION_FAILED", "neither master key is the card's")

    def _masters(self) -> Generator[ScriptStep, list[ResponseApdu], list[KeyRef]]:
        """Master keys a torn structure may have.

        One torn before a rotation is of an older set, as its IRK tells; without an IRK it is a temporary master key.
        """
        versions = set_versions(self._keys, self._algorithm)
        if len(versions) == 1:
            return [self._ref("TMK_SSSE"), self._ref("MK_SSSE")]
        self._batch.steps += 1
        factor, original = (derive(self._order.seed, f"torn {what}", 8) for what in ("factor", "original"))
        self._batch.add(c.select_name(SSSE_NAME))
        self._batch.add(c.internal_authentication(factor, original), expect=("9000", "6A88"))
        answer = (yield from self._batch.send("清除未完成的结构", "Removing an unfinished structure"))[1]
        if not answer.is_ok:
            sets = [KeySet(self._keys, self._algorithm, version) for version in versions]
            return list(dict.fromkeys(keys.ref("TMK_SSSE") for keys in sets))
        found = set_of_answer(self._keys, self._algorithm, self._factors, factor, original, answer.data)
        if found is None:
            raise ScriptError("CARD_NOT_GENUINE", "the card's IRK is not the one of this region")
        keys = KeySet(self._keys, self._algorithm, found)
        return [keys.ref("TMK_SSSE"), keys.ref("MK_SSSE")]

    def _challenge(self) -> Generator[ScriptStep, list[ResponseApdu], bytes]:
        self._batch.add(c.get_challenge(c.KEY_LOAD_CHALLENGE))
        answers = yield from self._batch.send("写入密钥", "Loading keys")
        return answers[-1].data

    def _load(self, name: str, *, under: str, mode: int = _INSTALL) -> Generator[ScriptStep, list[ResponseApdu], None]:
        """WRITE KEY: fetch a challenge, then leave the command in the batch."""
        challenge = yield from self._challenge()
        key = self._spec.key(name)
        field = self._keys.wrap_card_key(
            self._ref(name),
            self._factors,
            key_record_header(key, 1, self._algorithm),
            under=self._ref(under),
            under_factors=self._factors,
            challenge=challenge,
            header=bytes((0x84, 0xD4, mode, key.kid)),
        )
        self._batch.add(c.write_key(mode, key.kid, field), is_secret=True)

    def _load_pin(self) -> Generator[ScriptStep, list[ResponseApdu], None]:
        """The PIN object, empty: the holder sets a PIN at the counter (policy E)."""
        challenge = yield from self._challenge()
        pin = self._spec.pin
        field = self._keys.wrap_value(
            b"\xff" * pin.stored_length,
            pin_record_header(pin),
            under=self._ref("TMK_SSSE"),
            under_factors=self._factors,
            challenge=challenge,
            header=bytes((0x84, 0xD4, _INSTALL, pin.kid)),
        )
        self._batch.add(c.write_key(_INSTALL, pin.kid, field), is_secret=True)

    def _add(self, raw: bytes) -> None:
        self._batch.add(CommandApdu.from_bytes(raw))

    def _build_environment(self) -> Generator[ScriptStep, list[ResponseApdu], None]:
        environment = self._spec.df("SSSE")
        self._add(create_df(environment, self._spec.algorithm_id))
        yield from self._load("TMK_SSSE", under="TK", mode=_FIRST_MASTER)
        yield from self._authenticate(self._ref("TMK_SSSE"), 0x00, "建立社保环境", "Building the environment")
        for ef in environment.files:
            self._add(create_ef(ef))
        if environment.directory is not None:
            for number, record in enumerate(directory_records(self._spec), start=1):
                self._batch.add(c.update_record(environment.directory.sfi, number, record))
        for key in self._spec.keys_of("SSSE"):
            yield from self._load(key.name, under="TMK_SSSE")
        yield from self._load_pin()

    def _build_application(self, df: DfSpec) -> Generator[ScriptStep, list[ResponseApdu], None]:
        temporary = f"TMK_{df.name}"
        self._batch.add(c.select_name(SSSE_NAME))
        self._add(create_df(df, self._spec.algorithm_id))
        yield from self._load(temporary, under="TMK_SSSE", mode=_FIRST_MASTER)
        yield from self._authenticate(self._ref(temporary), df.master_kid, f"建立{df.label}", f"Building {df.name_en}")
        for ef in df.files:
            self._add(create_ef(ef))
        for key in self._spec.keys_of(df.name):
            yield from self._load(key.name, under=temporary)
        yield from self._load(f"MK_{df.name}", under=temporary, mode=_REPLACE)

    def _finish(self) -> Generator[ScriptStep, list[ResponseApdu], None]:
        """The card's own master key, then the irreversible step to PRE-PERSONALISED."""
        self._batch.add(c.select_name(SSSE_NAME))
        yield from self._load("MK_SSSE", under="TMK_SSSE", mode=_REPLACE)
        master = self._ref("MK_SSSE")
        yield from self._authenticate(master, 0x00, "启用卡片主控密钥", "Switching to the card's own master key")
        self._batch.add(c.get_challenge(c.KEY_LOAD_CHALLENGE))
        answers = yield from self._batch.send("完成初始化", "Finishing initialisation")
        state = LifeCycle.PRE_PERSONALISED
        mac = self._keys.master_mac(master, self._factors, answers[-1].data, bytes((0x84, 0xF4, 0x01, state)))
        self._batch.add(c.set_state(state, mac))

    def _found_set(self) -> Generator[ScriptStep, list[ResponseApdu], int]:
        """INTERNAL AUTHENTICATION with IRK: the keys on the card are the keys of the service, of this set."""
        factor = derive(self._order.seed, "internal factor", 8)
        original = derive(self._order.seed, "internal original", 8)
        self._batch.add(c.select_name(SSSE_NAME))
        self._batch.add(c.internal_authentication(factor, original))
        answers = yield from self._batch.send("核对卡片密钥", "Checking the card's keys")
        found = set_of_answer(self._keys, self._algorithm, self._factors, factor, original, answers[-1].data)
        if found is None:
            raise ScriptError("CARD_NOT_GENUINE", "the card's IRK is not the one of this region")
        return found
