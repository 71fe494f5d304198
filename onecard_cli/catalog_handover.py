"""`onecard catalog repo key, propose, sign, deliver, accept`: signatures by keys that never meet on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecard_cli.output import print_json, reports_failures

if TYPE_CHECKING:
    from apps_catalog.distribution.handover import Parcel

key_app = typer.Typer(help="签名密钥 / signing keys", no_args_is_help=True, add_completion=False)
Repo = Annotated[Path, typer.Argument(help="发布目录 / folder of the repository")]
Keys = Annotated[Path, typer.Option(help="签名密钥目录，每个持有人一个子目录 / keys: a folder per holder")]
Holder = Annotated[str, typer.Argument(help="密钥持有人 / holder: root-1, targets, 110000, timestamp, …")]
Into = Annotated[Path, typer.Option(help="写到这个文件 / file to write")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="待签文件 / the file that travels")]
Root = Annotated[Path, typer.Option(help="自己保存的任一版根文件 / a root file of your own, of any version")]


@key_app.command("new")
@reports_failures
def key_new(holder: Holder, keys: Keys) -> None:
    """在持有人自己的机器上生成新密钥，旧的先留着 / make a new key on its holder's machine; the old one stays for now.

    \b
    Example: ./onecard catalog repo key new 120000 --keys signing
    """
    from onecard_cli.catalog_keys import SigningKeys

    with SigningKeys(keys) as signing:
        print(f"✓ {holder}: {signing.make(holder).public_key.keyid[:16]}")


@key_app.command("show")
@reports_failures
def key_show(
    holder: Holder, keys: Keys, into: Annotated[Path | None, typer.Option(help="写到文件 / file to write")] = None
) -> None:
    """导出公钥，带它自己的签名 / the newest public key, signed by itself, to give to the publisher.

    \b
    Example: ./onecard catalog repo key show 120000 --keys signing --into 120000.key.json
    """
    from apps_catalog.distribution.handover import key_file
    from onecard_cli.catalog_keys import SigningKeys

    with SigningKeys(keys) as signing:
        signer = signing.signer(holder)
        content = key_file(signer)
    if into is None:
        print(content.decode("ascii"), end="")
        return
    into.write_bytes(content)
    print(f"✓ {into.name}: {holder} {signer.public_key.keyid[:16]}")


@key_app.command("end")
@reports_failures
def key_end(
    holder: Holder, keys: Keys, destroy: Annotated[bool, typer.Option(help="销毁而不是停用 / destroy")] = False
) -> None:
    """新密钥生效后停用或销毁旧的 / retire or destroy the older ones once the newest counts.

    \b
    Example: ./onecard catalog repo key end 120000 --keys signing --destroy
    """
    from onecard_cli.catalog_keys import SigningKeys

    with SigningKeys(keys) as signing:
        newest = signing.signer(holder)
        signing.end_older(newest, destroy=destroy)
    print(f"✓ {holder}: {newest.public_key.keyid[:16]}")


@reports_failures
def propose(
    repo: Repo,
    into: Into,
    key: Annotated[
        Path | None, typer.Option(help="换成这把公钥；不给就是根续期 / new key; without: renew root")
    ] = None,
    good: Annotated[int | None, typer.Option(min=1, help="退回到第几版内容 / version whose files come back")] = None,
) -> None:
    """准备待签文件：换一把密钥，或根文件续期 / prepare what others sign: a key exchanged, or the root renewed.

    \b
    Example: ./onecard catalog repo propose public --key 120000.key.json --into exchange.json
    """
    from apps_catalog.distribution.handover import read_key_file
    from apps_catalog.distribution.repository import Repository

    source = Repository(repo, {})
    parcel = source.propose_renewal() if key is None else source.propose_key(read_key_file(_read(key)), good=good)
    _write(into, parcel)


@reports_failures
def show(file: File, root: Root, as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False) -> None:
    """签之前看：改什么，还缺谁 / before signing: what it changes, and what is missing.

    \b
    Example: ./onecard catalog repo show exchange.json --root 1.root.json
    """
    parcel = _open(file)
    changes = parcel.changes(_read(root))
    if as_json:
        print_json({"changes": changes, "missing": parcel.missing()})
        return
    for line in changes:
        print(line)
    _tell_missing(parcel)


@reports_failures
def sign(file: File, root: Root, keys: Keys) -> None:
    """核对后用手里的密钥加签 / check it from your own root file and add the signatures of the keys here.

    \b
    Example: ./onecard catalog repo sign exchange.json --root 1.root.json --keys signing
    """
    from apps_catalog.distribution.roles import ROLES
    from onecard_cli.catalog_keys import SigningKeys

    parcel = _open(file)
    for line in parcel.changes(_read(root)):
        print(line)
    with SigningKeys(keys) as signing:
        done = parcel.sign(signing.all_of(ROLES.holders))
    for line in done:
        print(f"✓ {line}")
    _write(file, parcel)


@reports_failures
def deliver(
    repo: Repo, role: Annotated[str, typer.Argument(help="发布角色 / role: 110000, joint, …")], into: Into
) -> None:
    """把自己在副本上发布的内容打包送出 / pack what was published in a copy of the repository, to be delivered.

    \b
    Example: ./onecard catalog repo deliver copy 110000 --into 110000.json
    """
    from apps_catalog.distribution.repository import Repository

    _write(into, Repository(repo, {}).deliver(role))


@reports_failures
def accept(
    repo: Repo,
    file: File,
    keys: Annotated[Path | None, typer.Option(help="在线密钥目录 / folder of the online keys")] = None,
) -> None:
    """逐项核对送来的文件，全部对了才写入 / check everything in the file and write it only when all of it holds.

    \b
    Example: ./onecard catalog repo accept public exchange.json --keys signing
    """
    from apps_catalog.distribution.repository import Repository
    from apps_catalog.distribution.roles import ONLINE
    from onecard_cli.catalog_keys import SigningKeys

    parcel = _open(file)
    if keys is None:
        Repository(repo, {}).accept(parcel)
        _tell_accepted(parcel)
        return
    with SigningKeys(keys) as signing:
        # A new online key signs from now on, an old one for as long as the root in force names it.
        named = parcel.key_ids | Repository(repo, {}).key_ids()
        signers = {holder: signing.signer(holder, among=named) for holder in signing.at_hand(ONLINE)}
        target = Repository(repo, signers)
        target.accept(parcel)
        _tell_accepted(parcel)
        if len(signers) == len(ONLINE):
            print(f"✓ timestamp {target.refresh()}")


def _tell_accepted(parcel: Parcel) -> None:
    for role, metadata in sorted(parcel.proposed.items()):
        print(f"✓ {role} {metadata.signed.version}")


def _tell_missing(parcel: Parcel) -> None:
    if missing := parcel.missing():
        print(f"- 还缺签名 / signatures still missing: {', '.join(missing)}")
    else:
        print("✓ 签名已齐 / all signatures are there")


def _write(into: Path, parcel: Parcel) -> None:
    into.write_bytes(parcel.to_bytes())
    print(f"✓ {into.name}: {', '.join(sorted(parcel.proposed))}")
    _tell_missing(parcel)


def _open(file: Path) -> Parcel:
    from apps_catalog.distribution.handover import Parcel

    return Parcel.from_bytes(_read(file))


def _read(path: Path) -> bytes:
    from cardlib.failures import FailureCode
    from onecard_cli.output import CommandError

    if not path.is_file():
        raise CommandError(FailureCode.INPUT_INVALID, f"there is no file {path.name}")
    return path.read_bytes()
