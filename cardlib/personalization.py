"""Stage 4, personalisation (个人化): the holder's data into a pre-personalised card, read back, then ISSUED.

Draft P10 §5.4, §6.3.2; order of operations in personalization.md §4, steps 11-13. One batch runs from challenge to
challenge, so the number of network round trips is the number of challenges the card demands plus two. Every write
is idempotent: a torn card is written again from the start, and a card found ISSUED is only verified.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from apdu.response import ResponseApdu
from cardlib import commands as c
from cardlib.codec import CodecError, encode_record, split_name
from cardlib.identity import (
    IdentificationCode,
    card_factor,
    validate_card_number,
    validate_social_security_number,
)
from cardlib.initialization import CardStatus, LifeCycle, algorithm_of
from cardlib.key_set import KeySet, set_of_answer
from cardlib.script import Batch, Script, ScriptError, ScriptStep, derive
from cardlib.spec import CardSpec, DfSpec, EfSpec, Generation, KeyType, Structure, load
from hsm.api import CardFactors, KeyRef, KeyService

MAX_RESPONSE = 256
"""Longest answer of a short APDU; longer files are read in runs of whole records (card_files.md, OPEN F14)."""


@dataclass(frozen=True, slots=True)
class PersonalizationOrder:
    """Everything that goes onto one card. Dates YYYYMMDD; `institution` 24 hex digits; `items` = {"DF01EF05":
    {"20": "50"}} for the applications, items not named are filled as unused (cn FF, an 00)."""

    seed: bytes
    generation: Generation
    region: str
    reset_information: bytes
    card_number: str
    institution: str
    issue_date: str
    expiry_date: str
    card_class: str
    social_security_number: str
    name: str
    sex: str
    ethnic_group: str
    birthplace: str
    birth_date: str
    items: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "seed": self.seed.hex(),
            "generation": self.generation.value,
            "reset_information": self.reset_information.hex().upper(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PersonalizationOrder:
        """Raises CodecError when a field is missing, unknown or malformed."""
        try:
            return cls(
                **data
                | {
                    "seed": bytes.fromhex(data["seed"]),
                    "generation": Generation(data["generation"]),
                    "reset_information": bytes.fromhex(data["reset_information"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CodecError(f"not an order: {error}") from error

    @property
    def identification_code(self) -> IdentificationCode:
        """Serial = last four historical bytes (personalization.md §4); authentication code not used (F13)."""
        return IdentificationCode(self.region, self.reset_information[-4:])


def check_items(generation: Generation, items: Mapping[str, Mapping[str, Any]]) -> None:
    """Whether a personalization could write these items of the applications (`PersonalizationOrder.items`).

    Raises CodecError for a file it does not write (those of the environment come from the order itself, those of
    optional applications are not on the card), an unknown item, a value the card cannot hold, or too many of them.
    """
    spec = load(generation)
    files = {ef.path: ef for df in _applications(spec) if not df.is_environment for ef in _linear(df)}
    for path, values in items.items():
        if path not in files:
            raise CodecError(f"{path} is not a file that personalization fills")
        for _ in _encode_file(files[path], values):
            pass


def personalize(order: PersonalizationOrder, keys: KeyService) -> Script:
    """Write, read back and issue one card.

    Raises ScriptError CARD_NOT_GENUINE before any try is spent on a card of other keys, CARD_MISMATCH when the card
    already holds another card's data, CARD_DATA_INVALID when the read-back differs.
    """
    return _Personalization(order, keys).script()


class _Personalization:
    def __init__(self, order: PersonalizationOrder, keys: KeyService) -> None:
        self._order = order
        self._keys = keys
        self._spec: CardSpec = load(order.generation)
        self._algorithm = algorithm_of(order.generation)
        self._factors = CardFactors(order.region, card_factor(order.reset_information))
        self._set = KeySet(keys, self._algorithm)
        self._batch = Batch()
        self._dfs = _applications(self._spec)
        self._records = self._prepare()
        self._selected = ""
        self._challenge = b""
        self._unchecked: list[tuple[int, bytes]] = []
        self._verified = 0

    def script(self) -> Script:
        state = yield from self._identify()
        self._batch.steps = self._expected_steps(state)
        if state is LifeCycle.PRE_PERSONALISED:
            for df in self._dfs:
                yield from self._write(df)
        for df in self._dfs:
            yield from self._read_back(df)
        if state is LifeCycle.PRE_PERSONALISED:
            yield from self._issue()
        yield from self._finish(state)
        return {
            "outcome": "issued" if state is LifeCycle.PRE_PERSONALISED else "already",
            "card_number": self._order.card_number,
            "identification_code": str(self._order.identification_code),
            "reset_information": self._order.reset_information.hex().upper(),
            "key_version": str(self._set.version),
            "records_verified": str(self._verified),
        }

    # -- data ---------------------------------------------------------------------------------------------------

    def _prepare(self) -> dict[str, list[bytes]]:
        """Records per EF, in record order. Raises CodecError or IdentityError for a value that may not be written."""
        order = self._order
        check_items(order.generation, order.items)
        validate_card_number(order.card_number)
        validate_social_security_number(order.social_security_number)
        records: dict[str, list[bytes]] = {}
        first, second = split_name(order.name)
        values: dict[str, dict[str, Any]] = dict(order.items)
        values["SSSEEF05"] = {
            "01": str(order.identification_code),
            "02": order.card_class,
            "03": self._spec.version_text,
            "04": order.institution,
            "05": order.issue_date,
            "06": order.expiry_date,
            "07": order.card_number,
        }
        values["SSSEEF06"] = {
            "08": order.social_security_number,
            "09": first,
            "4E": second,
            "0A": order.sex,
            "0B": order.ethnic_group,
            "0C": order.birthplace,
            "0D": order.birth_date,
        }
        for df in self._dfs:
            for ef in _linear(df):
                records[ef.path] = list(_encode_file(ef, values.get(ef.path, {})))
        return records

    # -- steps --------------------------------------------------------------------------------------------------

    def _identify(self) -> Generator[ScriptStep, list[ResponseApdu], LifeCycle]:
        """Right keys, right state, and nobody else's data, all before the first counted try."""
        factor = derive(self._order.seed, "internal factor", 8)
        original = derive(self._order.seed, "internal original", 8)
        issuer = self._spec.ef("SSSEEF05")
        self._select(self._spec.df("SSSE"))
        self._batch.add(c.get_card_status())
        self._batch.add(c.internal_authentication(factor, original))
        self._batch.add(c.read_records_from(issuer.sfi, 1, issuer.size), expect=("9000", "6A83"))
        self._batch.add(c.get_challenge())
        answers = yield from self._batch.send("核对卡片", "Checking the card")
        self._challenge = answers[4].data
        status = CardStatus.from_bytes(answers[1].data)
        if status.is_blocked:
            raise ScriptError("CARD_BLOCKED")
        if status.state not in (LifeCycle.PRE_PERSONALISED, LifeCycle.ISSUED):
            raise ScriptError("CARD_STATE", f"the card is {status.state.name}, not a pre-personalised blank")
        if status.algorithm is not self._algorithm:
            raise ScriptError(
                "CARD_STATE", f"a {status.algorithm} card cannot become generation {self._order.generation}"
            )
        found = set_of_answer(self._keys, self._algorithm, self._factors, factor, original, answers[2].data)
        if found is None:
            raise ScriptError("CARD_NOT_GENUINE", "internal authentication failed")
        self._set = KeySet(self._keys, self._algorithm, found)
        self._check_owner(status.state, answers[3])
        return status.state

    def _expected_steps(self, state: LifeCycle) -> int:
        """One batch per challenge and one to end with; the first challenge came with the identification."""
        reads = [len({_read_kid(ef) for ef in self._files(df)} - {0}) for df in self._dfs]
        if state is LifeCycle.ISSUED:
            # Without a key on the SSSE's own files the first challenge is lost to the next application.
            return 2 + sum(reads) - (1 if reads[0] else 0)
        writes = sum(len({ef.write.kid for ef in self._files(df)}) for df in self._dfs)
        return 1 + writes + sum(reads) + 2

    def _check_owner(self, state: LifeCycle, found: ResponseApdu) -> None:
        """The card is empty, or holds a prefix of exactly what this order writes."""
        wanted = b"".join(self._records["SSSEEF05"])
        complete = len(found.data) == len(wanted)
        if found.data != wanted[: len(found.data)] or (state is LifeCycle.ISSUED and not complete):
            raise ScriptError("CARD_MISMATCH", "the card holds data of another card")

    def _write(self, df: DfSpec) -> Generator[ScriptStep, list[ResponseApdu], None]:
        self._select(df)
        for kid, files in _by_key(self._files(df), lambda ef: ef.write.kid):
            yield from self._authenticate(df, kid, f"写入{df.label}", f"Writing {df.name_en}")
            for ef in files:
                for number, raw in enumerate(self._records[ef.path], start=1):
                    self._batch.add(c.update_record(ef.sfi, number, raw))

    def _read_back(self, df: DfSpec) -> Generator[ScriptStep, list[ResponseApdu], None]:
        """Read every written file through its own read key and compare byte for byte (personalization.md §9 B)."""
        self._select(df)
        for kid, files in _by_key(self._files(df), _read_kid):
            if kid:
                yield from self._authenticate(df, kid, f"核对{df.label}", f"Verifying {df.name_en}")
            for ef in files:
                for number, count, raw in _runs(self._records[ef.path]):
                    command = c.read_record if count == 1 else c.read_records_from
                    self._unchecked.append((self._batch.add(command(ef.sfi, number, len(raw))), raw))
                    self._verified += count

    def _issue(self) -> Generator[ScriptStep, list[ResponseApdu], None]:
        """SET STATE ISSUED under the card's master key, then ask the card whether it is so."""
        environment = self._spec.df("SSSE")
        self._select(environment)
        yield from self._authenticate(environment, 0x00, "完成制卡", "Finishing the card")
        self._batch.add(c.get_challenge(c.KEY_LOAD_CHALLENGE))
        answers = yield from self._send("完成制卡", "Finishing the card")
        state = LifeCycle.ISSUED
        mac = self._keys.master_mac(
            self._ref("MK_SSSE"), self._factors, answers[-1].data, bytes((0x84, 0xF4, 0x01, state))
        )
        self._batch.add(c.set_state(state, mac))
        self._batch.add(c.get_card_status())

    def _finish(self, state: LifeCycle) -> Generator[ScriptStep, list[ResponseApdu], None]:
        """Send what is left; a card just issued must say so itself."""
        answers = yield from self._send("完成制卡", "Finishing the card")
        if state is LifeCycle.PRE_PERSONALISED:
            now = CardStatus.from_bytes(answers[-1].data).state
            if now is not LifeCycle.ISSUED:
                raise ScriptError("CARD_STATE", f"the card stayed {now.name}")

    # -- helpers ------------------------------------------------------------------------------------------------

    def _ref(self, name: str) -> KeyRef:
        return self._set.ref(name)

    def _files(self, df: DfSpec) -> list[EfSpec]:
        return [ef for ef in df.efs if ef.path in self._records]

    def _select(self, df: DfSpec) -> None:
        if self._selected != df.name:
            self._batch.add(c.select_name(df.aid))
            # A challenge does not survive the change of application (card_commands.md §2).
            self._selected, self._challenge = df.name, b""

    def _send(self, text_zh: str, text_en: str) -> Generator[ScriptStep, list[ResponseApdu], list[ResponseApdu]]:
        """Run the batch and compare the reads in it with what was written."""
        answers = yield from self._batch.send(text_zh, text_en)
        unchecked, self._unchecked = self._unchecked, []
        for index, raw in unchecked:
            if answers[index].data != raw:
                raise ScriptError("CARD_DATA_INVALID", f"read-back differs (answer {index + 1} of the batch)")
        return answers

    def _authenticate(
        self, df: DfSpec, kid: int, text_zh: str, text_en: str
    ) -> Generator[ScriptStep, list[ResponseApdu], None]:
        """Fetch a challenge if none is at hand; EXTERNAL AUTHENTICATION waits in the batch for the next `_send`."""
        if not self._challenge:
            self._batch.add(c.get_challenge())
            answers = yield from self._send(text_zh, text_en)
            self._challenge = answers[-1].data
        challenge, self._challenge = self._challenge, b""
        key = self._ref(_key_name(self._spec, df, kid))
        original = derive(self._order.seed, f"original {key} {challenge.hex()}", 8)
        value = self._keys.authentication_value(key, self._factors, challenge, original)
        self._batch.add(c.external_authentication(kid, value, original))


def _applications(spec: CardSpec) -> tuple[DfSpec, ...]:
    """The environment and every application a card must have."""
    return tuple(df for df in spec.dfs if not df.is_optional)


def _linear(df: DfSpec) -> list[EfSpec]:
    """Files of records; transparent and cyclic ones stay as they were created."""
    return [ef for ef in df.efs if ef.structure in (Structure.LINEAR_VARIABLE, Structure.LINEAR_FIXED)]


def _key_name(spec: CardSpec, df: DfSpec, kid: int) -> str:
    """Name behind a P2 of EXTERNAL AUTHENTICATION in `df`."""
    if kid == 0x00:
        return f"MK_{df.name}"
    owner = df.name if kid & 0x80 else "SSSE"
    return next(key.name for key in spec.keys_of(owner) if key.kid == kid and key.type is KeyType.AUTHENTICATION)


def _read_kid(ef: EfSpec) -> int:
    """Key that opens a file for reading, 0 for none."""
    return ef.read.kid if ef.read.names_key else 0


def _by_key(files: list[EfSpec], kid: Callable[[EfSpec], int]) -> Iterator[tuple[int, list[EfSpec]]]:
    """Files grouped by key, one authentication each; a stable order keeps free files first."""
    for value, group in groupby(sorted(files, key=kid), key=kid):
        yield value, list(group)


def _encode_file(ef: EfSpec, values: Mapping[str, Any]) -> Iterator[bytes]:
    """Records of a linear file in table order; an item with several instances takes a list of values."""
    known = {f"{item.tag:02X}" for item in ef.items}
    if unknown := set(values) - known:
        raise CodecError(f"{ef.path} has no item {min(unknown)}")
    for item in ef.items:
        value = values.get(f"{item.tag:02X}")
        instances = list(value) if isinstance(value, list | tuple) else [value]
        if len(instances) > item.count:
            raise CodecError(f"{ef.path}: {item.slug} takes {item.count} values, {len(instances)} are given")
        for index in range(item.count):
            yield encode_record(item, instances[index] if index < len(instances) else None)


def _runs(records: list[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """(first number, count, bytes) such that each run fits one short response.

    READ RECORD mode 101 always reads to the last record, so only the tail of a long file can be read at once.
    """
    tail = len(records)
    while tail and sum(map(len, records[tail - 1 :])) <= MAX_RESPONSE:
        tail -= 1
    for number in range(1, tail + 1):
        yield number, 1, records[number - 1]
    if tail < len(records):
        yield tail + 1, len(records) - tail, b"".join(records[tail:])
