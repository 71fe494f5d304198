"""`onecard wallet`: the phone app of test holders from the command line, with the same phone and the same proofs."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from onecard_cli.desk import ask_pin
from onecard_cli.office import CENTRE_URL, UrlOption
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from onecard_cli.home import Home
    from simulators.wallet.channel import Channel, Refused

CLIENT_ID = "wallet-1"
T = TypeVar("T")

wallet_app = typer.Typer(help="手机钱包 / the holder's phone", no_args_is_help=True, add_completion=False)
consent_app = typer.Typer(help="授权请求与授权 / requests and consents", no_args_is_help=True, add_completion=False)
wallet_app.add_typer(consent_app, name="consents")

ClientOption = Annotated[str, typer.Option("--client", help="渠道的调用方名称 / the channel's registered client")]
PhoneOption = Annotated[str, typer.Option("--phone", help="哪一部手机 / which phone of this machine")]
NameOption = Annotated[str, typer.Option("--name", help="姓名 / name")]
NumberOption = Annotated[str, typer.Option("--number", help="社会保障号码 / social security number")]
CardOption = Annotated[str, typer.Option("--card-number", help="卡号 / card number")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="编号，见 list / id, as list shows it")]
Scene = Literal["identity", "transit", "payment"]
ASK = "电子社保卡密码 / e-card password"


def at_centre(
    url: str, client_id: str, phone: str, work: Callable[[Channel], Awaitable[T]], *, home: Home | None = None
) -> T:
    """What `work` gives, with a phone of the home folder. Raises CommandError with the centre's refusal."""
    import asyncio

    import httpx

    from cardlib.client_auth import ClientAuth, ClientKey
    from cardlib.failures import FailureCode
    from onecard_cli.home import Home
    from onecard_cli.sim_wallet import PHONES
    from simulators.wallet.channel import Channel, Refused
    from simulators.wallet.phone import Phone

    home = home or Home.default()
    key = ClientKey.load(home.client_key(client_id))
    if not phone.replace("-", "").replace("_", "").isalnum():
        raise CommandError(FailureCode.INPUT_INVALID, "a phone's name is letters, digits, - and _")

    async def asked() -> T:
        async with httpx.AsyncClient(base_url=url, auth=ClientAuth(key), timeout=30, trust_env=False) as http:
            return await work(Channel(http, client_id, Phone.open(home.path / PHONES / f"{phone}.json")))

    try:
        return asyncio.run(asked())
    except Refused as refusal:
        raise _explained(refusal, url) from None


def _explained(refusal: Refused, url: str) -> CommandError:
    """The failure, and what the centre or the phone adds to it: the field, the tries that are left, the address."""
    from cardlib.failures import FailureCode
    from simulators.wallet.channel import UNREACHABLE

    code = FailureCode.__members__.get(refusal.code, FailureCode.INTERNAL)
    said = f"{refusal.remedy('zh')} / {refusal.remedy('en')}"
    if refusal.code == UNREACHABLE:
        return CommandError(code, url)
    if code is FailureCode.INPUT_INVALID and said != " / ":
        return CommandError(code, said)
    detail = str(refusal.problem.get("detail", ""))
    return CommandError(code, "" if detail == refusal.code else detail)


@wallet_app.command("apply")
@reports_failures
def apply(
    name: NameOption,
    number: NumberOption,
    card_number: CardOption,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """申领电子社保卡，或在新手机上接着用 / get the e-card, or take it over to a new phone; asks for its password.

    \b
    Example: ./onecard wallet apply --name 测试甲 --number 990101199001010115 --card-number A00000017
    """
    from secrets import token_urlsafe

    password = ask_pin(f"{ASK} (6)", twice=True)
    print_json(
        at_centre(url, client, phone, lambda c: c.sign_up(name, number, card_number, password, token_urlsafe(16)))
    )


@wallet_app.command("card")
@reports_failures
def card(url: UrlOption = CENTRE_URL, client: ClientOption = CLIENT_ID, phone: PhoneOption = "cli") -> None:
    """状态、等级、渠道 / state, level, channels.

    \b
    Example: ./onecard wallet card
    """
    print_json(at_centre(url, client, phone, lambda c: c.card()))


@wallet_app.command("what")
@reports_failures
def what(
    region: Annotated[str, typer.Option("--in", help="在哪里用，六位区划代码 / where: a division code")],
    on: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="哪一天，默认今天 / day")] = None,
    carrier: Annotated[str | None, typer.Option(help="contact, contactless, qr, bank_account")] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """我的卡在那里能办什么、为什么 / what my card can do there, and why.

    \b
    Example: ./onecard wallet what --in 120000 --carrier qr
    """
    from urllib.parse import urlencode

    asked = {"in": region, "on": on.date().isoformat() if on else None, "carrier": carrier}
    query = urlencode({name: value for name, value in asked.items() if value})
    print_json(at_centre(url, client, phone, lambda c: c.get(f"/catalog?{query}")))


@wallet_app.command("code")
@reports_failures
def code(
    scene: Annotated[Scene, typer.Option(help="用途 / purpose")] = "identity",
    member: Annotated[str, typer.Option(help="家人编号，见 family list / family member's id")] = "",
    png: Annotated[Path | None, typer.Option(help="存成图片 / write the picture to a file")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """出示一个码，画在屏幕上 / show a code, drawn on the terminal; payment asks for the password.

    \b
    Example: ./onecard wallet code
             ./onecard wallet code --scene payment --png pay.png
             ./onecard wallet code --scene transit
    """
    from onecard_ui.code_picture import picture_of

    if scene == "transit":
        content = at_centre(url, client, phone, lambda c: c.transit_code())
        issued = {"code": content.hex().upper(), "scene": scene}
    else:
        password = ask_pin(ASK) if scene == "payment" else ""
        issued = at_centre(url, client, phone, lambda c: c.code(scene, member=member, password=password))
        issued = {name: issued[name] for name in ("code", "scene", "expires_at", "ttl_s")}
        content = issued["code"].encode()
    picture = picture_of(content)
    if png is not None:
        _write(png, picture.png(400))
    if as_json:
        print_json(issued)
        return
    if png is None:
        print(_blocks(picture.rows, is_terminal=sys.stdout.isatty()))
    print(issued["code"])


def _write(file: Path, content: bytes) -> None:
    from cardlib.failures import FailureCode

    try:
        file.write_bytes(content)
    except OSError as error:
        raise CommandError(FailureCode.INPUT_INVALID, f"{file}: {error.strerror}") from None


def _blocks(rows: Sequence[bytes], *, is_terminal: bool) -> str:
    """Two modules a character; on a terminal black on white, whatever its colours are."""
    pairs = zip_longest(rows[::2], rows[1::2], fillvalue=bytes(len(rows)))
    lines = ("".join(" ▄▀█"[2 * top + bottom] for top, bottom in zip(*pair, strict=True)) for pair in pairs)
    return "\n".join(f"\x1b[30;107m{line}\x1b[0m" if is_terminal else line for line in lines)


@wallet_app.command("uses")
@reports_failures
def uses(url: UrlOption = CENTRE_URL, client: ClientOption = CLIENT_ID, phone: PhoneOption = "cli") -> None:
    """谁用过我的信息 / who used my data.

    \b
    Example: ./onecard wallet uses
    """
    print_json(at_centre(url, client, phone, lambda c: c.get("/uses")))


@wallet_app.command("password")
@reports_failures
def password(url: UrlOption = CENTRE_URL, client: ClientOption = CLIENT_ID, phone: PhoneOption = "cli") -> None:
    """改密码 / change the password; asks for the old and the new one.

    \b
    Example: ./onecard wallet password
    """
    body = {"old_password": ask_pin("原密码 / old password"), "new_password": _new_password()}
    print_json(at_centre(url, client, phone, lambda c: c.put("/password", body)))


@wallet_app.command("reset")
@reports_failures
def reset(
    name: NameOption,
    number: NumberOption,
    card_number: CardOption,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """忘了密码或已锁：再核对身份，设新密码 / forgotten or locked: show who you are, choose a new password.

    \b
    Example: ./onecard wallet reset --name 测试甲 --number 990101199001010115 --card-number A00000017
    """
    body = {"name": name, "social_security_number": number, "card_number": card_number}
    body["new_password"] = _new_password()
    print_json(at_centre(url, client, phone, lambda c: c.post("/password/reset", body)))


@wallet_app.command("loss")
@reports_failures
def loss(
    kind: Annotated[Literal["temporary", "formal"], typer.Option(help="临时或正式 / for a while or for good")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """挂失实体卡 / report the plastic card lost; asks for the password.

    \b
    Example: ./onecard wallet loss --kind temporary
    """
    confirmed(url, client, phone, "/loss", "loss", {"kind": kind})


@wallet_app.command("release")
@reports_failures
def release(url: UrlOption = CENTRE_URL, client: ClientOption = CLIENT_ID, phone: PhoneOption = "cli") -> None:
    """取消挂失 / unblock the card that was found.

    \b
    Example: ./onecard wallet release
    """
    confirmed(url, client, phone, "/loss/release", "loss")


@wallet_app.command("authorise")
@reports_failures
def authorise(url: UrlOption = CENTRE_URL, client: ClientOption = CLIENT_ID, phone: PhoneOption = "cli") -> None:
    """卡丢了，手机上接着用 / go on with the electronic card of a lost card.

    \b
    Example: ./onecard wallet authorise
    """
    confirmed(url, client, phone, "/authorisation", "authorise")


@wallet_app.command("level")
@reports_failures
def level(url: UrlOption = CENTRE_URL, client: ClientOption = CLIENT_ID, phone: PhoneOption = "cli") -> None:
    """开通付款（二级） / open payment (level 2).

    \b
    Example: ./onecard wallet level
    """
    confirmed(url, client, phone, "/level", "level")


@wallet_app.command("unlink")
@reports_failures
def unlink(
    sign_no: Annotated[str, typer.Argument(help="签发号，见 wallet card / as `wallet card` shows it")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """解除一个渠道 / unlink one channel.

    \b
    Example: ./onecard wallet unlink 0a4b6c8d1e2f30415263748596a7b8c9
    """
    confirmed(url, client, phone, f"/links/{sign_no}/unlink", "unlink")


def _new_password() -> str:
    from simulators.wallet.channel import Refused, demand_digits

    given = ask_pin("新密码 / new password (6)", twice=True)
    try:
        demand_digits(given)
    except Refused as refusal:
        raise _explained(refusal, "") from None
    return given


def confirmed(
    url: str, client_id: str, phone: str, path: str, purpose: str, body: dict[str, Any] | None = None
) -> None:
    """An act behind the password; prints what the centre answers."""
    given = ask_pin(ASK)

    async def work(channel: Channel) -> Any:
        busi_seq = await channel.password_given(given, purpose)
        return await channel.post(path, (body or {}) | {"busi_seq": busi_seq})

    print_json(at_centre(url, client_id, phone, work))


# -- consents ---------------------------------------------------------------------------------------------------------


@consent_app.command("list")
@reports_failures
def consents(url: UrlOption = CENTRE_URL, client: ClientOption = CLIENT_ID, phone: PhoneOption = "cli") -> None:
    """等我答复的和我同意过的 / what waits for an answer, and what was agreed to.

    \b
    Example: ./onecard wallet consents list
    """

    async def work(channel: Channel) -> Any:
        return {
            "waiting": (await channel.get("/consent-requests"))["items"],
            "given": (await channel.get("/consents"))["items"],
        }

    print_json(at_centre(url, client, phone, work))


@consent_app.command("approve")
@reports_failures
def approve(
    request_id: IdArgument,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """读全文，同意并签名 / shows the text, then signs it after the password.

    \b
    Example: ./onecard wallet consents approve 8d0f4a3be21c4d5f9a7b6c5d4e3f2a10
    """
    from cardlib.failures import FailureCode

    waiting = at_centre(url, client, phone, lambda c: c.get("/consent-requests"))["items"]
    request = next((found for found in waiting if found["id"] == request_id), None)
    if request is None:
        raise CommandError(FailureCode.NOT_FOUND, "no such request waits for an answer")
    print(request["text"])
    given = ask_pin(ASK)
    print_json(at_centre(url, client, phone, lambda c: c.approve(request, given, "")))


@consent_app.command("refuse")
@reports_failures
def refuse(
    request_id: IdArgument,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """不同意 / refuse a request.

    \b
    Example: ./onecard wallet consents refuse 8d0f4a3be21c4d5f9a7b6c5d4e3f2a10
    """
    print_json(at_centre(url, client, phone, lambda c: c.post(f"/consent-requests/{request_id}/refuse")))


@consent_app.command("revoke")
@reports_failures
def revoke(
    consent_id: IdArgument,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """收回授权 / revoke a consent.

    \b
    Example: ./onecard wallet consents revoke 8d0f4a3be21c4d5f9a7b6c5d4e3f2a10
    """
    print_json(at_centre(url, client, phone, lambda c: c.post(f"/consents/{consent_id}/revoke")))


@consent_app.command("proof")
@reports_failures
def evidence(
    consent_id: IdArgument,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """凭据：别人也能核对 / evidence that others can check.

    \b
    Example: ./onecard wallet consents proof 8d0f4a3be21c4d5f9a7b6c5d4e3f2a10
    """
    print_json(at_centre(url, client, phone, lambda c: c.get(f"/consents/{consent_id}/proof")))
