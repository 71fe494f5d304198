"""Invented clerks of a demo home: one of each role, with log-ins that `onecard up` prints. Never a real installation's.

The passwords and one-time secrets are random, made once, and kept beside the keys in the home folder.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pyotp
from sqlalchemy import select

from hsm.officers import Officers
from hsm.sealed_store import write_atomically
from issuance.app import close_services, create_services
from issuance.cards.models import CardRow
from issuance.clerks.acts import ClerkRole
from issuance.clerks.login import LoginAttempt, begin_codes, change_password, confirm_codes, log_in, log_out
from issuance.clerks.models import ClerkRow
from issuance.clerks.passwords import STEP_S
from issuance.clerks.scans import give_card
from issuance.clerks.schemas import ClerkRequest
from issuance.clerks.service import ClerkService
from issuance.clerks.sessions import signed_in
from issuance.database import migrate
from issuance.login.tokens import subject_for
from issuance.offices.schemas import OfficeRequest
from issuance.offices.service import OfficeService
from issuance.scope import EVERYWHERE
from issuance.settings import Settings
from issuance.unit import system_unit

if TYPE_CHECKING:
    from hsm.api import KeyService
    from issuance.services import Services
    from onecard_cli.home import Home

_R = ClerkRole
CLERKS: dict[str, tuple[str, tuple[ClerkRole, ...]]] = {
    "caiji": ("方采集", (_R.COLLECTOR, _R.ISSUER)),
    "fuhe": ("何复核", (_R.REVIEWER,)),
    "faka": ("高发卡", (_R.ISSUER,)),
    "kuguan": ("李库管", (_R.STOCK_KEEPER,)),
    "jianguan": ("高监管", (_R.SUPERVISOR,)),
    "shenji": ("申审计", (_R.AUDITOR,)),
    "guanli": ("管理员", (_R.ADMINISTRATOR,)),
    "bianmu": ("边目录", (_R.CATALOG_EDITOR,)),
    "shenmu": ("沈目录", (_R.CATALOG_REVIEWER,)),
}
"""Name and roles by log-in."""


SCANS = "caiji"
"""Whose account the demo's card holder is bound to."""
SECTOR = "console"
"""The consoles of a home, whatever their port, know a person by the same name."""


@dataclass(frozen=True, slots=True)
class DemoClerk:
    login: str
    name: str
    roles: tuple[str, ...]
    password: str
    totp_secret: str

    def code(self, moment: float) -> str:
        return pyotp.TOTP(self.totp_secret).at(int(moment))


async def make_staff(services: Services, region: str) -> list[DemoClerk]:
    """An office with an outlet below it, and its clerks with passwords and one-time codes set up."""
    async with system_unit(services) as unit:
        offices = OfficeService(unit)
        office = OfficeRequest(kind="office", region=region, name_zh="示例社保中心", name_en="Example centre")
        top = await offices.create(office)
        outlet = OfficeRequest(
            parent_id=top.id, kind="outlet", region=region, name_zh="示例办事大厅", name_en="Example service hall"
        )
        hall = await offices.create(outlet)
        clerks = ClerkService(unit)
        made = {}
        for login, (name, roles) in CLERKS.items():
            where = hall.id if set(roles) & {_R.COLLECTOR, _R.ISSUER, _R.REVIEWER} else top.id
            made[login] = await clerks.create(ClerkRequest(login=login, name=name, office_id=where, roles=roles))
    return [await settle(services, login, *CLERKS[login], access.temporary_password) for login, access in made.items()]


async def settle(services: Services, login: str, name: str, roles: tuple[ClerkRole, ...], temporary: str) -> DemoClerk:
    """What a clerk does at the first log-in, with the `temporary` password."""
    password = f"demo-{secrets.token_urlsafe(9)}"
    opened = await log_in(services, LoginAttempt("password", {"login": login, "password": temporary}))
    await change_password(services, await signed_in(services, opened.token), temporary, password)
    who = await signed_in(services, opened.token)
    enrolment = begin_codes(services, who)
    clerk = DemoClerk(login, name, tuple(roles), password, enrolment.secret)
    # The code of the step before: the present one is still good for the first log-in.
    await confirm_codes(services, who, enrolment.ticket, clerk.code(services.clock().timestamp() - STEP_S))
    await log_out(services, who)
    return clerk


def demo_staff(home: Home, region: str) -> list[DemoClerk]:
    """The clerks of this home, made at the first call; none where a database already has clerks of other hands, and
    none beside keys that a ceremony or other hands have made."""
    path = home.path / "demo-staff.json"
    with home.key_service() as keys:
        if not home.ministry.exists() or Officers(keys, home.key_store).exist:
            return []
        migrate(home.database_url)
        made = asyncio.run(_made(home.database_url, keys, region))
    if made is None:
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        return [DemoClerk(**entry | {"roles": tuple(entry["roles"])}) for entry in kept]
    write_atomically(path, json.dumps([asdict(clerk) for clerk in made], ensure_ascii=False, indent=1).encode())
    return made


async def _made(database_url: str, keys: KeyService, region: str) -> list[DemoClerk] | None:
    services = create_services(Settings(database_url=database_url), keys)
    try:
        async with services.database.look(scope=EVERYWHERE) as session:
            if await session.scalar(select(ClerkRow.id).limit(1)) is not None:
                return None
        return await make_staff(services, region)
    finally:
        await close_services(services)


def bind_clerk(home: Home, card_number: str) -> None:
    """The holder of this card is the clerk `SCANS`, as if the clerk had scanned it in the console."""
    with home.key_service() as keys:
        asyncio.run(_bound(home.database_url, keys, card_number))


async def _bound(database_url: str, keys: KeyService, card_number: str) -> None:
    services = create_services(Settings(database_url=database_url), keys)
    try:
        async with system_unit(services) as unit:
            clerk = await unit.session.scalar(select(ClerkRow).where(ClerkRow.login == SCANS))
            if clerk is not None and clerk.scan_subject is None:
                card = await unit.session.get_one(CardRow, card_number)
                subject = subject_for(services.sealer, card.person_id, SECTOR)
                await give_card(unit.session, clerk, subject, unit.now)
    finally:
        await close_services(services)


def print_staff(clerks: list[DemoClerk]) -> None:
    """Log-ins of invented people, on the screen of who runs the demo."""
    if clerks:
        print("示例经办人 / invented clerks: 工号 login, 密码 password, 动态口令密钥 TOTP secret")
    for clerk in clerks:
        print(f"  {clerk.login:9} {clerk.password}  {clerk.totp_secret}  {clerk.name} {'、'.join(clerk.roles)}")
    if clerks:
        print(f"扫码登录 / log-in by scan: 持卡人的手机登录 {SCANS} / the card holder's phone logs in as {SCANS}")
