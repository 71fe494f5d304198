"""`onecard issuance publication`: what the centre publishes for terminals, from the centre's own machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onecard_cli.audit import DatabaseOption, with_services
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from issuance.publication.service import Round
    from issuance.services import Services
    from issuance.settings import Settings
    from onecard_cli.home import Home
    from onecard_cli.key_office import KeyOffice

publication_app = typer.Typer(help="向终端发布 / publication for terminals", no_args_is_help=True, add_completion=False)
JsonOption = Annotated[bool, typer.Option("--json", help="给程序读 / for programs")]


@publication_app.command("init")
@reports_failures
def init(
    keys: Annotated[Path, typer.Option(help="离线密钥的文件夹 / folder for the keys kept offline")],
    repository: Annotated[
        Path | None, typer.Option(help="发布目录，缺省在数据目录里 / folder of the repository; default: in the home")
    ] = None,
) -> None:
    """新建发布目录和签名密钥 / make the repository and its keys: those of root and provinces in --keys, the others
    in the centre's key store.

    \b
    Example: ./onecard issuance publication init --keys signing
    """
    from apps_catalog.distribution.repository import Repository
    from apps_catalog.distribution.roles import ROLES
    from cardlib.failures import FailureCode
    from issuance.publication.signing import OWN, make_signers
    from onecard_cli.catalog_keys import SigningKeys
    from onecard_cli.home import Home

    home = Home.default()
    path = repository or home.repository
    if (path / "metadata").exists():
        raise CommandError(FailureCode.CONFLICT, f"{path.name} is a repository already")
    offline = [holder for holder in ROLES.holders if holder not in OWN]
    with SigningKeys(keys) as signing, home.keys_in_use() as centre:
        there = signing.at_hand(offline)
        made = there | {holder: signing.make(holder) for holder in offline if holder not in there}
        Repository(path, made | make_signers(centre)).create()
    print(f"✓ {path}")
    print(f"  {path / 'metadata' / '1.root.json'} 装到每台终端 / for every terminal")
    print(f"  {keys}: 每个持有人的子目录移到各自的介质 / move each holder's folder to a medium of its own")


@publication_app.command("now")
@reports_failures
def now(
    full: Annotated[bool, typer.Option("--full", help="完整的黑名单 / a whole block list")] = False,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """马上发布一次，不等下一轮 / publish at once, without waiting for the next round.

    \b
    Example: ./onecard issuance publication now --full
    """
    from issuance.publication.tasks import publish_now

    async def work(services: Services) -> Round:
        return await publish_now(services, is_full=full)

    done = with_services(database_url, work)
    told = {part.value: failure for part, failure in done.outcomes.items()}
    if as_json:
        edition = done.edition
        print_json({"ok": done.is_good, "parts": told, "edition": edition and edition.number})
    else:
        _print_parts(told)
    if not done.is_good:
        raise typer.Exit(1)


@publication_app.command("show")
@reports_failures
def show(database_url: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """上次发布了什么、何时、有没有失败，签名到哪天 / what was published when, what failed, how long signatures count.

    \b
    Example: ./onecard issuance publication show
    """

    async def work(services: Services) -> dict[str, Any]:
        from issuance.publication.views import publication_view

        async with services.database.look() as session:
            view = await publication_view(session, services.settings)
        return view.model_dump(mode="json") | {"roles": _roles(services.settings)}

    told = with_services(database_url, work)
    if as_json:
        print_json(told)
        return
    _print_parts({part["part"]: part["failure"] for part in told["parts"]})
    for part in told["parts"]:
        edition = f" · {part['entries']} 张卡 / cards · edition {part['edition']}" if part["edition"] else ""
        print(f"  {part['part']}: {part['published_at'] or '-'}{edition}")
    for role in told["roles"]:
        print(f"  {role['role']}: 第 {role['version']} 版 / version, 到 / until {role['until']}")
    if not told["parts"]:
        print("还没有发布过 / nothing was published yet")


def _roles(settings: Settings) -> list[dict[str, Any]]:
    from apps_catalog.distribution.repository import Repository

    path = settings.publication_path
    if path is None or not (path / "metadata").is_dir():
        return []
    terms = Repository(path, {}).status()
    return [{"role": role, "version": version, "until": ends.isoformat()} for role, version, ends in terms]


def _print_parts(outcomes: Mapping[str, str]) -> None:
    from cardlib.failures import describe

    for part, code in outcomes.items():
        failure = describe(code) if code else None
        print(f"✗ {part}: {failure.text_zh} / {failure.text_en}  [{code}]" if failure else f"✓ {part}")


def with_publication(home: Home, settings: Settings) -> Settings:
    """The repository and the roots that lie in the home folder, unless others are set."""
    found = {
        "publication_path": settings.publication_path or _if_there(home.repository),
        "transit_anchors_path": settings.transit_anchors_path or _if_there(home.transit_roots),
    }
    return settings.model_copy(update=found)


def ensure_demo_repository(office: KeyOffice) -> None:
    """For an installation that only shows what there is: every holder's key in its one key store, at first start.

    A store with officers is left alone.
    """
    from apps_catalog.distribution.repository import Repository
    from apps_catalog.distribution.roles import ROLES
    from issuance.publication.signing import make_signers

    if not (office.home.repository_root.exists() or office.officers.exist):
        Repository(office.home.repository, make_signers(office.service, ROLES.holders)).create()


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None
