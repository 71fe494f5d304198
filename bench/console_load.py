"""Synthetic people for `bench --only console`, loaded by COPY: persons, applications, cards and what belongs to them.

All of them are invented. One person in twenty has an application that is still open: no queue is empty.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
from sqlalchemy.engine import make_url

from cardlib.identity import card_number_check, citizen_number
from issuance.applications.service import items_context
from issuance.clock import add_years, china_date
from issuance.persons.repository import name_index, person_context
from issuance.progress.receipts import with_check_digits
from issuance.sealing import Sealer

CHUNK: Final = 20_000
DISTRICTS: Final = tuple(f"1101{number:02d}" for number in range(1, 17))
OUTLETS: Final = tuple(f"hall-{district}" for district in DISTRICTS)
DAYS: Final = 730
NOTED: Final = 500
"""About so many holders are told of afterwards; all that is sealed for them can be opened."""
FREE_NUMBERS: Final = 100_000
IN_STOCK: Final = 500
"""Blanks at every outlet."""
CLIENT: Final = "bench"
_SETTLE: Final = (
    "INSERT INTO card_number_pools (region, given) SELECT region, count(*) FROM card_numbers GROUP BY region",
    # Everything came to its place on the first day, and what was spoiled has been destroyed: the books agree.
    """
    INSERT INTO stock_ledger (at, day, place_id, kind, act, quantity, reference, reason, actor)
    SELECT %(at)s, %(day)s, place_id, kind, CASE WHEN n > 0 THEN 'receive' ELSE 'destroy' END, n, '', '', %(by)s
    FROM (
        SELECT place_id, kind, sum(n) AS n
        FROM (
            SELECT place_id, kind, -quantity AS n FROM stock_ledger
            UNION ALL SELECT place_id, kind, 1 FROM blanks WHERE place_id IS NOT NULL
        ) AS sides GROUP BY place_id, kind
    ) AS missing WHERE n <> 0
    """,
    "TRUNCATE audit_pending",  # a service takes them into its log within seconds
)
_SURNAMES: Final = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜"
_GIVEN: Final = "一二三四五六七八九十甲乙丙丁戊己庚辛壬癸子丑寅卯辰巳午未申酉戌亥"
_COLUMNS: Final[dict[str, str]] = {
    "persons": "id number_index name_index sealed created_at updated_at",
    "card_numbers": "number region state application_id registered_at updated_at",
    "blanks": "reset_information region generation state delivery kind place_id application_id registered_at "
    "updated_at",
    "applications": "id person_id region office receipt_number generation card_class state sealed_items kind channel "
    "delivery with_ecard reset_information card_number issue_date expiry_date case_step case_reason case_owner "
    "case_deadline created_by created_at updated_at ended_at",
    "application_steps": "application_id step status at detail",
    "cards": "card_number application_id person_id reset_information identification_code region generation key_version "
    "state issue_date expiry_date version state_since state_by created_at updated_at",
    "card_events": "card_number side act old_state new_state at by client_id reason version detail",
    "ecards": "ecard_no card_number person_id level state created_at updated_at",
    "card_rewrites": "card_number sealed_changes asked_at asked_by",
    "found_cards": "card_number region outlet state found_at keep_until is_overdue registered_by",
    "audit_entries": "at actor clerk act subject application_id region place outcome reason detail",
    "stock_ledger": "at day place_id kind act quantity reference reason actor",
}
_ORDER: Final = tuple(_COLUMNS)


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody with a card, to look for afterwards."""

    region: str
    name: str
    number: str
    application: str
    receipt: str
    card: str


class Loader:
    def __init__(self, url: str, sealer: Sealer, now: datetime, people: int) -> None:
        self._url = make_url(url)
        self._sealer = sealer
        self._now = now
        self._people = people
        self._chance = random.Random(6)
        self._rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _ORDER}
        self._holders: list[Holder] = []

    def load(self) -> list[Holder]:
        """Commits chunk by chunk, then has the planner count. Returns about `NOTED` of those who have a card."""
        with self._connection() as connection:
            self._places(connection)
            for start in range(0, self._people, CHUNK):
                for serial in range(start, min(start + CHUNK, self._people)):
                    self._person(serial)
                self._write(connection)
            self._pools()
            self._write(connection)
            began = self._now - timedelta(days=DAYS)
            for statement in _SETTLE:
                connection.execute(statement, {"at": began, "day": china_date(began), "by": CLIENT})
        with self._connection(autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        return self._holders

    @contextmanager
    def _connection(self, *, autocommit: bool = False) -> Iterator[psycopg.Connection[Any]]:
        folder = self._url.query["host"]
        with psycopg.connect(
            host=str(folder), user=self._url.username, dbname=self._url.database, autocommit=autocommit
        ) as connection:
            yield connection

    def _places(self, connection: psycopg.Connection[Any]) -> None:
        query = (
            "INSERT INTO stock_places (id, kind, name, region, state, version, updated_by, created_at, updated_at)"
            " VALUES (%s, 'outlet', %s, %s, 'open', 1, 'bench', %s, %s)"
        )
        places = [(place, f"示例大厅{place[-2:]}", place[5:], self._now, self._now) for place in OUTLETS]
        connection.cursor().executemany(query, places)

    def _write(self, connection: psycopg.Connection[Any]) -> None:
        for name in _ORDER:
            columns = ", ".join(f'"{column}"' for column in _COLUMNS[name].split())
            with connection.cursor().copy(f"COPY {name} ({columns}) FROM STDIN") as copy:
                for row in self._rows[name]:
                    copy.write_row(row)
            self._rows[name].clear()
        connection.commit()

    # -- one person ---------------------------------------------------------------------------------------------------

    def _person(self, serial: int) -> None:
        chance, sealer = self._chance, self._sealer
        person_id = uuid.UUID(int=chance.getrandbits(128)).hex
        day = f"{1950 + serial // 156_000 % 50:04d}{1 + serial // 500 % 12:02d}{1 + serial // 6000 % 26:02d}"
        number = citizen_number(f"990100{day}{serial % 500 * 2 + 1:03d}")
        name = "测" + chance.choice(_SURNAMES) + chance.choice(_GIVEN) + chance.choice(_GIVEN)
        data = {
            "social_security_number": number,
            "name": name,
            "sex": "1",
            "ethnic_group": "01",
            "birthplace": "990100",
            "birth_date": day,
        }
        created = self._now - timedelta(seconds=chance.randrange(1, DAYS * 86400))
        index = sealer.index("social_security_number", number)
        sealed = sealer.seal(data, person_context(person_id))
        self._rows["persons"].append((person_id, index, name_index(sealer, name), sealed, created, created))
        self._application(serial, person_id, created, (name, number))

    def _application(self, serial: int, person_id: str, created: datetime, who: tuple[str, str]) -> None:
        chance = self._chance
        application_id = uuid.UUID(int=chance.getrandbits(128)).hex
        district = serial // 100 % len(DISTRICTS)
        region = DISTRICTS[district]
        state, ended, case = self._fate(serial, created)
        is_bound = state in ("enabled", "reserved")
        card = _card_number(f"A{serial:07d}") if is_bound else None
        chip = f"00FE00000086FE9901{serial:08X}" if is_bound else None
        issued = china_date(ended or created) if is_bound else None
        expires = None if issued is None else add_years(issued, 10)
        receipt = with_check_digits(f"26{serial:012d}")
        office = f"/1/{district + 2}/" if serial % 2 else None
        is_noted = state == "enabled" and chance.randrange(self._people) < NOTED
        is_opened = is_noted or serial % 100 == 0
        sealed = self._sealer.seal({}, items_context(application_id)) if is_opened else b"\x01"
        taken = (application_id, person_id, region, office, receipt, "3.0", "3", state, sealed, "new", "counter")
        bound = ("counter", True, chip, card, issued, expires)
        self._rows["applications"].append((*taken, *bound, *case, CLIENT, created, ended or created, ended))
        for step in ("apply", "check", *(("enable",) if ended else ())):
            at = ended if step == "enable" else created
            self._rows["application_steps"].append((application_id, step, "done", at, ""))
        self._trail("application.submit", f"application:{application_id}", application_id, region, created)
        if card is not None and chip is not None:
            is_here = state == "reserved" and serial % 2 == 0
            place = OUTLETS[district] if is_here else None
            kind, blank = ("finished", "reserved") if state == "reserved" else ("blank", "used")
            held = "used" if state == "enabled" else "reserved"
            self._rows["card_numbers"].append((card, region, held, application_id, created, created))
            self._rows["blanks"].append(
                (chip, region, "3.0", blank, "d", kind, place, application_id, created, ended or created)
            )
        if state == "enabled" and ended is not None and card is not None:
            self._card(serial, (card, application_id, person_id, chip), region, ended, (issued, expires))
        if is_noted and card is not None:
            self._holders.append(Holder(region, *who, application_id, receipt, card))

    def _fate(self, serial: int, created: datetime) -> tuple[str, datetime | None, tuple[Any, ...]]:
        """State, when it ended, and the four columns of a case; `serial` decides, so that shares are exact."""
        nothing = (None, None, None, None)
        late = created + timedelta(hours=24)
        match serial % 100:
            case 0:
                return "reserved", None, ("print", "PRINTER_JAM", "counter-0001", late)
            case 1:
                return "submitted", None, ("identity", "IDENTITY_UNAVAILABLE", "bench", late)
            case 2 | 3:
                return "checked", None, nothing
            case 4:
                return "reserved", None, nothing
            case 5:
                return "rejected", min(self._now, created + timedelta(hours=2)), nothing
            case _:
                took = timedelta(seconds=self._chance.lognormvariate(8.0, 1.5))
                return "enabled", min(self._now, created + took), nothing

    def _card(self, serial: int, keys: Sequence[Any], region: str, at: datetime, dates: tuple[Any, Any]) -> None:
        card, application_id, person_id, _ = keys
        state = "4" if serial % 500 == 7 else "1"
        code = f"110000D156000005{serial:016X}"
        self._rows["cards"].append((*keys, code, region, "3.0", 1, state, *dates, 1, at, CLIENT, at, at))
        self._rows["card_events"].append((card, "social", "issue", "", "1", at, CLIENT, CLIENT, "", 1, "{}"))
        self._rows["ecards"].append((f"{serial:032x}", card, person_id, 1, "active", at, at))
        self._trail("card.enable", f"card:{card}", application_id, region, at)
        day = china_date(at)
        place = OUTLETS[serial % len(OUTLETS)]
        act, kind, sign = ("spoil", "spoiled", 1) if serial % 50 == 9 else ("issue", "blank", -1)
        self._rows["stock_ledger"].append((at, day, place, kind, act, sign, "", "", CLIENT))
        if serial % 300 == 11:
            self._rows["card_rewrites"].append((card, b"\x01", at, CLIENT))
        if serial % 500 == 13:
            keep = self._now + timedelta(days=serial % 120 - 30)
            self._rows["found_cards"].append((card, region, place, "kept", at, keep, keep <= self._now, CLIENT))

    def _trail(self, act: str, subject: str, application_id: str, region: str, at: datetime) -> None:
        self._rows["audit_entries"].append((at, CLIENT, "", act, subject, application_id, region, "", "ok", "", "{}"))

    def _pools(self) -> None:
        now = self._now
        free = (_card_number(f"B{serial:07d}") for serial in range(FREE_NUMBERS))
        self._rows["card_numbers"] += [(number, "110000", "free", None, now, now) for number in free]
        self._rows["blanks"] += list(_blanks(now))


def _blanks(now: datetime) -> Iterable[tuple[Any, ...]]:
    for number, (place, region) in enumerate(zip(OUTLETS, DISTRICTS, strict=True)):
        for serial in range(IN_STOCK):
            chip = f"00FE00000086FE9902{number * IN_STOCK + serial:08X}"
            yield chip, region, "3.0", "in_stock", "d", "blank", place, None, now, now


def _card_number(body: str) -> str:
    return body + card_number_check(body)
