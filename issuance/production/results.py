"""What each partner's return line means: an account, a certificate, a card, a proof of its keys."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, Protocol

from cardlib.identity import IdentificationCode, IdentityError, card_factor
from cardlib.initialization import algorithm_of
from cardlib.key_set import IRK, KeySet, set_versions
from cardlib.spec import Generation
from hsm.api import Authentication, CardFactors, KeyService
from issuance.applications.models import ApplicationRow
from issuance.production.models import BatchRow, EntryRow, FileRow, LineRow
from issuance.production.profiles import Layout, LineError, Parsed
from issuance.production.repository import ProductionRepository
from issuance.production.sending import BankData, bank_context, key_question
from issuance.production.states import LineState, MakeType, Outcome, Stage
from issuance.production.work import refusal
from issuance.stock.ledger import Act, StockLedger
from issuance.stock.models import BlankRow
from issuance.unit import Unit


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the batch as it stands in this stage; `number_index` finds its person."""

    line: LineRow
    entry: EntryRow
    number_index: bytes


class ReadLine(Protocol):
    @property
    def number(self) -> int: ...

    @property
    def parsed(self) -> Parsed: ...

    @property
    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """`values` are columns of the line that the return sets."""

    line: int
    outcome: Outcome
    state: LineState
    digest: bytes
    values: dict[str, Any] = field(default_factory=dict)
    sealed_reason: bytes | None = None


OpenLine = tuple[ReadLine, Entry]
Taken = tuple[list[Accepted], list[tuple[int, Parsed]]]


class Result(Protocol):
    async def take(
        self, unit: Unit, batch: BatchRow, file: FileRow, layout: Layout, lines: Sequence[OpenLine]
    ) -> Taken:
        """The lines taken, and those refused with their reasons."""
        ...


def reason_context(batch_id: str, stage: str, line: int) -> str:
    return f"production_entries.reason:{batch_id}:{stage}:{line}"


def _failed(unit: Unit, batch: BatchRow, stage: Stage, read: ReadLine, entry: Entry, state: LineState) -> Accepted:
    words = read.parsed.values.get("reason", "")
    sealed = unit.services.sealer.seal(words, reason_context(batch.id, stage.value, entry.line.line))
    return Accepted(entry.line.line, Outcome.FAILED, state, read.digest, sealed_reason=sealed)


def _contradiction(layout: Layout, read: ReadLine, column: str) -> tuple[int, Parsed]:
    return read.number, refusal(read.parsed, LineError(layout.title(column), "file_result"))


class BankResult:
    async def take(
        self, unit: Unit, batch: BatchRow, file: FileRow, layout: Layout, lines: Sequence[OpenLine]
    ) -> Taken:
        accepted, refused = [], []
        for read, entry in lines:
            values, line = read.parsed.values, entry.line.line
            data = {name: values.get(name, "") for name in BankData.model_fields}
            if values["result"] == "0" and all(data.values()):
                sealed = unit.services.sealer.seal(data, bank_context(batch.id, line))
                accepted.append(Accepted(line, Outcome.OK, LineState.ACCOUNT, read.digest, {"sealed_bank": sealed}))
            elif values["result"] != "0" and "reason" in values:
                state = LineState.ACCOUNT_MISMATCH if values["result"] == "2" else LineState.NO_ACCOUNT
                accepted.append(_failed(unit, batch, Stage.BANK, read, entry, state))
            else:
                refused.append(_contradiction(layout, read, "result"))
        return accepted, refused


class CaResult:
    async def take(
        self, unit: Unit, batch: BatchRow, file: FileRow, layout: Layout, lines: Sequence[OpenLine]
    ) -> Taken:
        accepted, refused = [], []
        for read, entry in lines:
            values = read.parsed.values
            if values["result"] == "0" and "certificate" in values:
                changed = {"certificate": values["certificate"]}
                accepted.append(Accepted(entry.line.line, Outcome.OK, LineState.CERTIFIED, read.digest, changed))
            elif values["result"] != "0" and "reason" in values:
                accepted.append(_failed(unit, batch, Stage.CA, read, entry, LineState.NOT_CERTIFIED))
            else:
                refused.append(_contradiction(layout, read, "result"))
        return accepted, refused


class FactoryResult:
    """A good line is a card in hand: it is entered into stock at the batch's depot and bound to its application."""

    _NEEDED: Final = ("reset_information", "identification_code", "issue_date", "expiry_date")

    async def take(
        self, unit: Unit, batch: BatchRow, file: FileRow, layout: Layout, lines: Sequence[OpenLine]
    ) -> Taken:
        repository = ProductionRepository(unit.session)
        chips = [read.parsed.values.get("reset_information", "") for read, _ in lines]
        known = await repository.blanks([chip for chip in chips if chip])
        accepted: list[Accepted] = []
        refused: list[tuple[int, Parsed]] = []
        made: dict[str, LineRow] = {}
        for read, entry in lines:
            values = read.parsed.values
            if {"failed_at", "reason"} <= values.keys():
                accepted.append(self._not_made(unit, batch, read, entry))
                continue
            if "failed_at" in values or "reason" in values:
                refused.append(_contradiction(layout, read, "failed_at"))
                continue
            error = self._error(unit, batch, layout, values, entry, known, made)
            if error is not None:
                refused.append((read.number, refusal(read.parsed, error)))
                continue
            made[values["reset_information"]] = entry.line
            accepted.append(self._made(read, entry))
        await self._enter(unit, batch, made, known, {one.line: one.values for one in accepted})
        return accepted, refused

    def _not_made(self, unit: Unit, batch: BatchRow, read: ReadLine, entry: Entry) -> Accepted:
        is_maker = read.parsed.values["failed_at"] == "制卡"
        state = LineState.MAKE_FAILED if is_maker else LineState.MAKE_EXCEPTION
        return _failed(unit, batch, Stage.FACTORY, read, entry, state)

    def _error(
        self,
        unit: Unit,
        batch: BatchRow,
        layout: Layout,
        values: Mapping[str, str],
        entry: Entry,
        known: Mapping[str, BlankRow],
        made: Mapping[str, LineRow],
    ) -> LineError | None:
        missing = next((name for name in self._NEEDED if name not in values), None)
        if missing is not None:
            return LineError(layout.title(missing), "file_result")
        if values["expiry_date"] <= values["issue_date"]:
            return LineError(layout.title("expiry_date"), "file_dates")
        if not _is_of_region(values["identification_code"], batch.region):
            return LineError(layout.title("identification_code"), "file_identification_code")
        differing = _other_account(unit, batch, values, entry.line)
        if differing:
            return LineError(layout.title(differing), "file_differs")
        chip = values["reset_information"]
        row = known.get(chip)
        fits = row is not None and self._is_in_stock(batch, row)
        if chip in made or (row is not None and not fits):
            rule = "file_card_not_in_stock" if batch.make_type == MakeType.PRE_PRINTED else "file_card_known"
            return LineError(layout.title("reset_information"), "file_card_known" if chip in made else rule)
        if row is None and batch.make_type == MakeType.PRE_PRINTED:
            return LineError(layout.title("reset_information"), "file_card_not_in_stock")
        return None

    def _is_in_stock(self, batch: BatchRow, row: BlankRow) -> bool:
        kind = "pre_printed" if batch.make_type == MakeType.PRE_PRINTED else "blank"
        is_free = row.state == "in_stock" and row.place_id is not None
        return is_free and (row.kind, row.region, row.generation) == (kind, batch.region, batch.generation)

    def _made(self, read: ReadLine, entry: Entry) -> Accepted:
        values = read.parsed.values
        changed: dict[str, Any] = {name: values[name] for name in ("reset_information", "identification_code")}
        changed |= {"issue_date": _day(values["issue_date"]), "expiry_date": _day(values["expiry_date"])}
        changed |= {"box": values.get("box")}
        return Accepted(entry.line.line, Outcome.OK, LineState.MADE, read.digest, changed)

    async def _enter(
        self,
        unit: Unit,
        batch: BatchRow,
        made: Mapping[str, LineRow],
        known: Mapping[str, BlankRow],
        values: Mapping[int, dict[str, Any]],
    ) -> None:
        """Chips of the factory's own are new to us, others leave the place they lay at; all lie at the depot now."""
        repository, ledger = ProductionRepository(unit.session), StockLedger(unit)
        common = {"kind": "finished", "state": "reserved", "place_id": batch.depot_id, "updated_at": unit.now}
        fresh = {
            "region": batch.region,
            "generation": batch.generation,
            "delivery": batch.id,
            "registered_at": unit.now,
        }
        await repository.add_all(
            BlankRow,
            [
                common | fresh | {"reset_information": chip, "application_id": line.application_id}
                for chip, line in made.items()
                if chip not in known
            ],
        )
        taken: dict[tuple[str, str], list[str]] = {}
        for chip in made:
            if chip in known and known[chip].place_id is not None:
                taken.setdefault((str(known[chip].place_id), known[chip].kind), []).append(chip)
        for (place, kind), chips in sorted(taken.items()):
            await ledger.post(place, kind, Act.MAKE, chips, -1, reference=batch.id)
        await repository.change_all(
            BlankRow,
            ["reset_information"],
            [
                common | {"reset_information": chip, "application_id": line.application_id}
                for chip, line in made.items()
                if chip in known
            ],
        )
        await ledger.post(batch.depot_id, "finished", Act.MAKE, list(made), +1, reference=batch.id)
        bound = [(line.application_id, values[line.line]) for line in made.values()]
        names = ("reset_information", "issue_date", "expiry_date")
        await repository.change_all(
            ApplicationRow,
            ["id"],
            [{"id": key, "updated_at": unit.now} | {name: found[name] for name in names} for key, found in bound],
        )


class KeysResult:
    """A finished card answered INTERNAL AUTHENTICATION (P5 §6.7): rightly under one of our key sets, or not."""

    async def take(
        self, unit: Unit, batch: BatchRow, file: FileRow, layout: Layout, lines: Sequence[OpenLine]
    ) -> Taken:
        accepted, refused, answers = [], [], []
        for read, entry in lines:
            if "authentication" in read.parsed.values:
                answers.append((read, entry))
            elif "reason" in read.parsed.values:
                accepted.append(_failed(unit, batch, Stage.KEYS, read, entry, LineState.KEY_WRONG))
            else:
                refused.append(_contradiction(layout, read, "authentication"))
        for (read, entry), version in zip(answers, self._versions(unit, batch, answers), strict=True):
            if version is None:
                accepted.append(_failed(unit, batch, Stage.KEYS, read, entry, LineState.KEY_WRONG))
            else:
                changed = {"key_version": version}
                accepted.append(Accepted(entry.line.line, Outcome.OK, LineState.FINISHED, read.digest, changed))
        return accepted, refused

    def _versions(self, unit: Unit, batch: BatchRow, answers: Sequence[OpenLine]) -> list[int | None]:
        """The set of keys each card proved, newest first; None where none fits."""
        keys, sealer = unit.services.keys, unit.services.sealer
        questions = []
        for _, entry in answers:
            challenge, original = key_question(sealer, entry.entry.sent_in, entry.line.line)
            factor = card_factor(bytes.fromhex(entry.line.reset_information or ""))
            questions.append(Authentication(CardFactors(batch.region, factor), challenge, original))
        found: list[int | None] = [None] * len(answers)
        for version, right in _right_values(keys, Generation(batch.generation), questions):
            for place, (read, _) in enumerate(answers):
                given = bytes.fromhex(read.parsed.values["authentication"])
                if hmac.compare_digest(right[place], given) and found[place] is None:
                    found[place] = version
            if None not in found:
                break
        return found


def _right_values(
    keys: KeyService, generation: Generation, questions: Sequence[Authentication]
) -> Iterator[tuple[int, list[bytes]]]:
    algorithm = algorithm_of(generation)
    for version in set_versions(keys, algorithm):
        key = KeySet(keys, algorithm, version).ref(IRK)
        yield version, keys.authentication_value_batch(key, questions)


def _other_account(unit: Unit, batch: BatchRow, values: Mapping[str, str], line: LineRow) -> str:
    """The bank column that is not what the bank gave; a wrong one would be printed on somebody's card."""
    if line.sealed_bank is None:
        return ""
    ours = unit.services.sealer.unseal(line.sealed_bank, bank_context(batch.id, line.line))
    return next((name for name in ("bank_card", "account") if values.get(name, ours[name]) != ours[name]), "")


def _is_of_region(code: str, region: str) -> bool:
    try:
        return IdentificationCode.from_hex(code).region == region
    except IdentityError:
        return False


def _day(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


RESULTS: Final[Mapping[Stage, Result]] = {
    Stage.BANK: BankResult(),
    Stage.CA: CaResult(),
    Stage.FACTORY: FactoryResult(),
    Stage.KEYS: KeysResult(),
}
