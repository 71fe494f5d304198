"""`onecard catalog repo`: the signed repository that terminals fetch from, on the publishing side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecard_cli import catalog_handover
from onecard_cli.output import print_json, reports_failures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apps_catalog.distribution.repository import Repository
    from onecard_cli.catalog_keys import SigningKeys

repo_app = typer.Typer(help="签名发布 / the signed repository", no_args_is_help=True, add_completion=False)
repo_app.add_typer(catalog_handover.key_app, name="key")
repo_app.command("propose")(catalog_handover.propose)
repo_app.command("show")(catalog_handover.show)
repo_app.command("sign")(catalog_handover.sign)
repo_app.command("deliver")(catalog_handover.deliver)
repo_app.command("accept")(catalog_handover.accept)
Repo = Annotated[Path, typer.Argument(help="发布目录 / folder of the repository")]
Keys = Annotated[Path, typer.Option(help="签名密钥目录，每个持有人一个子目录 / keys: a folder per holder")]
Holder = Annotated[str, typer.Argument(help="密钥持有人 / holder: root-1, targets, 110000, timestamp, …")]


@repo_app.command("init")
@reports_failures
def init(repo: Repo, keys: Keys) -> None:
    """新建发布目录和全部签名密钥 / make the repository and every holder's key.

    \b
    Example: ./onecard catalog repo init public --keys signing
    """
    from apps_catalog.distribution.repository import Repository
    from apps_catalog.distribution.roles import ROLES
    from cardlib.failures import FailureCode
    from onecard_cli.catalog_keys import SigningKeys
    from onecard_cli.output import CommandError

    if (repo / "metadata").exists():
        raise CommandError(FailureCode.CONFLICT, f"{repo.name} is a repository already")
    with SigningKeys(keys) as signing:
        there = signing.at_hand(ROLES.holders)
        signers = there | {holder: signing.make(holder) for holder in ROLES.holders if holder not in there}
        Repository(repo, signers).create()
    print(f"✓ {len(signers)} 个密钥 / keys · {repo / 'metadata' / '1.root.json'} 装到每台终端 / for every terminal")
    print("  每个持有人的子目录移到各自的介质 / move each holder's folder to a medium of its own")


@repo_app.command("publish")
@reports_failures
def publish(
    repo: Repo,
    folder: Annotated[Path, typer.Argument(help="要发布的文件夹 / folder to publish", exists=True, file_okay=False)],
    keys: Keys,
    role: Annotated[str | None, typer.Option(help="发布角色；不给就是应用目录 / role; without it, a catalog")] = None,
) -> None:
    """签名并发布应用目录或其他文件 / sign and publish a catalog, or the files of one role.

    \b
    Example: ./onecard catalog repo publish public versions/2026.47.3/files --keys signing
    """
    from apps_catalog.distribution.contents import by_owner
    from apps_catalog.distribution.roles import ONLINE
    from onecard_cli.catalog_keys import SigningKeys
    from terminal_agent.catalog.contents import check_role

    if role is None:
        contents = by_owner(folder)
    else:
        contents = {role: {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}}
        check_role(role, contents[role])
    with SigningKeys(keys) as signing:
        target = _repository(repo, signing, (*contents, *ONLINE))
        for name, files in contents.items():
            if role is None and not signing.at_hand([name]):
                print(f"- {name}: 密钥不在这里 / its key is not here")
            elif target.publish(name, files):
                print(f"✓ {name}: {len(files)} 个文件 / files")
            else:
                print(f"- {name}: 没有变化 / nothing changed")
        _refresh(target, signing)


@repo_app.command("add-roles")
@reports_failures
def add_roles(repo: Repo, keys: Keys) -> None:
    """旧的发布目录补上新的发布角色 / give an older repository the roles it does not know; needs the key of targets.

    \b
    Example: ./onecard catalog repo add-roles public --keys signing
    """
    from apps_catalog.distribution.repository import Repository
    from apps_catalog.distribution.roles import ONLINE, ROLES
    from onecard_cli.catalog_keys import SigningKeys

    with SigningKeys(keys) as signing:
        here = signing.at_hand(("targets", *ROLES.delegated, *ONLINE), among=Repository(repo, {}).key_ids())
        made = {role: signing.make(role) for role in Repository(repo, {}).missing_roles() if role not in here}
        target = Repository(repo, here | made)
        for role in target.add_roles():
            print(f"✓ {role}")
        _refresh(target, signing)


@repo_app.command("timestamp")
@reports_failures
def timestamp(repo: Repo, keys: Keys) -> None:
    """签新的快照和时间戳，定时运行 / sign snapshot and timestamp; run it by the clock.

    \b
    Example: ./onecard catalog repo timestamp public --keys signing
    """
    from apps_catalog.distribution.roles import ONLINE
    from onecard_cli.catalog_keys import SigningKeys

    with SigningKeys(keys) as signing:
        target = _repository(repo, signing, ONLINE)
        print(f"✓ timestamp {target.refresh()}")
        _tell_waiting(target)


@repo_app.command("rotate")
@reports_failures
def rotate(repo: Repo, holder: Holder, keys: Keys) -> None:
    """更换一把密钥，旧的停用 / replace a holder's key; the old one is retired.

    \b
    Example: ./onecard catalog repo rotate public 120000 --keys signing
    """
    _exchange(repo, holder, keys, good=None, destroy=False)


@repo_app.command("revoke")
@reports_failures
def revoke(
    repo: Repo,
    holder: Holder,
    keys: Keys,
    good: Annotated[int | None, typer.Option(min=1, help="退回到第几版内容 / version whose files come back")] = None,
) -> None:
    """密钥泄露：换新、销毁旧的，可退回内容 / stolen key: replace and destroy it, files may go back.

    \b
    Example: ./onecard catalog repo revoke public 120000 --good 4 --keys signing
    """
    _exchange(repo, holder, keys, good=good, destroy=True)


@repo_app.command("renew-root")
@reports_failures
def renew_root(repo: Repo, keys: Keys) -> None:
    """根文件续期，三把根密钥有两把即可 / the root for another term; two of its three keys do.

    \b
    Example: ./onecard catalog repo renew-root public --keys signing
    """
    from apps_catalog.distribution.roles import ROLES
    from onecard_cli.catalog_keys import SigningKeys

    with SigningKeys(keys) as signing:
        _repository(repo, signing, ROLES.top["root"].holders).renew_root()
    print("✓ root")


@repo_app.command("prune")
@reports_failures
def prune(repo: Repo, days: Annotated[int, typer.Option(min=1, help="比这更旧的 / older than")] = 30) -> None:
    """删除不再用到的旧文件 / remove old files that nothing names any more.

    \b
    Example: ./onecard catalog repo prune public --days 30
    """
    from datetime import UTC, datetime, timedelta

    from apps_catalog.distribution.repository import Repository

    count = Repository(repo, {}).prune(datetime.now(UTC) - timedelta(days=days))
    print(f"✓ {count} 个文件 / files")


@repo_app.command("status")
@reports_failures
def status(repo: Repo, as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False) -> None:
    """每个角色的版本和到期时间 / version and end of every role's signature.

    \b
    Example: ./onecard catalog repo status public
    """
    from apps_catalog.distribution.repository import Repository

    found = Repository(repo, {}).status()
    if as_json:
        print_json([{"role": role, "version": version, "until": end.isoformat()} for role, version, end in found])
        return
    for role, version, end in found:
        print(f"{role:<24} {version:>5}  {end:%Y-%m-%d %H:%M} UTC")


@repo_app.command("drill")
@reports_failures
def drill() -> None:
    """在临时目录演练换钥、吊销、丢失根密钥 / rehearse rotation, revocation and a lost root key; leaves nothing.

    \b
    Example: ./onecard catalog repo drill
    """
    from onecard_cli.catalog_drill import rehearse

    for step in rehearse():
        print(f"✓ {step}")


def _repository(repo: Path, signing: SigningKeys, holders: Iterable[str]) -> Repository:
    from apps_catalog.distribution.repository import Repository

    return Repository(repo, signing.at_hand(holders, among=Repository(repo, {}).key_ids()))


def _refresh(target: Repository, signing: SigningKeys) -> None:
    from apps_catalog.distribution.roles import ONLINE

    if len(signing.at_hand(ONLINE)) == len(ONLINE):
        print(f"✓ timestamp {target.refresh()}")
    else:
        print("- 终端在下一次 timestamp 之后看到 / terminals see it after the next timestamp")
    _tell_waiting(target)


def _tell_waiting(target: Repository) -> None:
    if waiting := target.waits_for():
        print(f"- 目录保持原样，等待 / the catalog stays as it was, waits for: {', '.join(waiting)}")


def _exchange(repo: Path, holder: str, keys: Path, *, good: int | None, destroy: bool) -> None:
    from apps_catalog.distribution.roles import ONLINE, ROLES
    from onecard_cli.catalog_keys import SigningKeys

    with SigningKeys(keys) as signing:
        judges = ("targets", holder, *ONLINE) if holder in ROLES.delegated else ROLES.top["root"].holders + ONLINE
        target = _repository(repo, signing, judges)
        new = signing.make(holder)
        target.rotate(holder, new, good=good)
        signing.end_older(new, destroy=destroy)
    print(f"✓ {holder}: {new.public_key.keyid[:16]}")
