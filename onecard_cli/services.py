"""`onecard issuance` and `onecard agent`: the two services as processes."""

from __future__ import annotations

import gc
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecard_cli import (
    agent_catalog,
    agent_config,
    agent_devices,
    agent_diagnosis,
    agent_journal,
    agent_pairings,
    agent_samples,
    agent_selftest,
    agent_staff,
    journeys,
    office,
    office_photo,
    publication,
    terminals,
)
from onecard_cli.output import CommandError, listen, reports_failures

if TYPE_CHECKING:
    from apdu.readers import ReaderService

issuance_app = typer.Typer(help="发卡服务 / the central service", no_args_is_help=True, add_completion=False)
agent_app = typer.Typer(help="终端服务 / the local service", no_args_is_help=True, add_completion=False)

issuance_app.command("stock")(office.stock)
issuance_app.command("numbers")(office.numbers)
issuance_app.command("blanks")(office.blanks)
issuance_app.command("apply")(office.apply)
issuance_app.command("photo")(office_photo.upload)
issuance_app.command("show")(office.show)
issuance_app.command("write-off")(office.write_off)
issuance_app.command("validate")(office.validate)
issuance_app.add_typer(publication.publication_app, name="publication")
agent_app.command("issue")(office.issue)
agent_app.command("initialize")(office.initialize)
agent_app.command("rewrite")(office.rewrite)
agent_app.command("pin-reset")(office.pin_reset)
agent_app.command("pin-unblock")(office.pin_unblock)
agent_app.command("catalog")(agent_catalog.state)
agent_app.add_typer(agent_pairings.pairings_app, name="pairings")
agent_app.command("journal")(agent_journal.journal)
agent_app.command("devices")(agent_devices.devices)
agent_app.command("samples")(agent_samples.samples)
agent_app.command("selftest")(agent_selftest.selftest)
agent_app.add_typer(agent_config.config_app, name="config")
agent_app.command("register")(agent_config.register)
agent_app.command("staff-pin")(agent_staff.staff_pin)
issuance_app.add_typer(terminals.terminals_app, name="terminals")
issuance_app.add_typer(journeys.journeys_app, name="journeys")
agent_app.command("diagnose")(agent_diagnosis.diagnose)
issuance_app.command("reconcile")(agent_journal.reconcile)

OWN_LOGGERS = ("apdu", "cardlib", "hsm", "issuance", "terminal_agent")
ReadyFile = Annotated[Path | None, typer.Option("--ready-file", help="就绪后写入地址 / written when ready")]
DatabaseUrl = Annotated[str | None, typer.Option("--database-url", help="默认内置 SQLite / default: embedded SQLite")]


def log_to_stderr(line: str) -> None:
    """Lines of our own loggers at INFO; ONECARD_LOG=DEBUG (or TRAFFIC, redacted APDUs) shows more."""
    logging.basicConfig(level=logging.WARNING, format=line)
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(os.environ.get("ONECARD_LOG", "INFO"))


def write_ready(path: Path | None, facts: dict[str, object]) -> None:
    """Tell a waiting parent where the service listens; whole or not at all."""
    if path is None:
        return
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(facts | {"pid": os.getpid()}))
    temporary.replace(path)


@issuance_app.command("serve")
@reports_failures
def serve(
    host: Annotated[str | None, typer.Option(help="地址 / address to bind")] = None,
    port: Annotated[int | None, typer.Option(help="0 = 任意空闲端口 / any free port")] = None,
    fd: Annotated[int | None, typer.Option(help="已监听的套接字 / a listening socket handed over")] = None,
    database_url: DatabaseUrl = None,
    ready_file: ReadyFile = None,
) -> None:
    """启动发卡服务 / run the issuance service; the database is migrated first.

    \b
    Example: ./onecard issuance serve --port 8400
    """
    import socket

    import uvicorn

    from issuance.app import create_app
    from issuance.database import migrate
    from issuance.serving import settle_memory
    from issuance.settings import Settings
    from onecard_cli.audit import with_heads
    from onecard_cli.home import Home
    from onecard_cli.publication import with_publication
    from onecard_cli.sim_bank import simulated_bank
    from onecard_cli.transit_ca import with_transit

    log_to_stderr("%(message)s")
    home = Home.default()
    given = {"host": host, "port": port, "database_url": database_url}
    given["database_url"] = database_url or os.environ.get("ONECARD_ISSUANCE_DATABASE_URL") or home.database_url
    settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    settings = with_publication(home, with_transit(home, with_heads(home, settings)))
    migrate(settings.database_url)
    listener = socket.socket(fileno=fd) if fd is not None else listen(settings.port, settings.host)
    listener.listen(512)
    url = f"http://{settings.host}:{listener.getsockname()[1]}"
    if "login_issuer" not in settings.model_fields_set:
        settings = settings.model_copy(update={"login_issuer": f"http://127.0.0.1:{listener.getsockname()[1]}"})

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                settle_memory()
                write_ready(ready_file, {"url": url})
                print(f"issuance {url}", flush=True)

    with home.keys_in_use() as keys:
        app = create_app(settings, keys, bank=simulated_bank(home, settings))
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=2)
        Server(config).run(sockets=[listener])


@issuance_app.command("migrate")
@reports_failures
def migrate_database(database_url: DatabaseUrl = None) -> None:
    """把数据库升级到当前版本 / bring the database to the current schema.

    \b
    Example: ./onecard issuance migrate --database-url postgresql://localhost/onecard
    """
    from issuance.database import migrate
    from onecard_cli.home import Home

    migrate(database_url or os.environ.get("ONECARD_ISSUANCE_DATABASE_URL") or Home.default().database_url)
    print("✓")


@issuance_app.command("register")
@reports_failures
def register(
    client_id: Annotated[str, typer.Argument(help="名称 / name: hall-3")],
    role: Annotated[list[str], typer.Option(help="operator, terminal, wallet, verifier")],
    region: Annotated[str | None, typer.Option(help="六位区划代码 / six-digit division code")] = None,
    name: Annotated[str, typer.Option(help="持卡人看到的名称 / the name that holders see")] = "",
    channel_no: Annotated[
        str | None, typer.Option(help="钱包的 10 位渠道编号，缺省随机 / a wallet's channel number, else drawn")
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """登记一个调用方并生成它的密钥文件 / register a caller and make its key file.

    \b
    Example: ./onecard issuance register hall-3 --role terminal --region 110000
             ./onecard issuance register city-app --role wallet --name 城市通 --channel-no 1100000001
    """
    from cardlib.failures import FailureCode
    from issuance.database import migrate
    from onecard_cli.home import Home
    from onecard_cli.registration import register_clients

    if channel_no and not (
        "wallet" in role and len(channel_no) == 10 and channel_no.isascii() and channel_no.isdigit()
    ):
        raise CommandError(FailureCode.INPUT_INVALID, "--channel-no: 钱包的 10 位数字 / ten digits, of a wallet")
    home = Home.default()
    url = database_url or os.environ.get("ONECARD_ISSUANCE_DATABASE_URL") or home.database_url
    migrate(url)
    register_clients(home, url, {client_id: role}, region, {client_id: name} if name else {}, channel_no)
    print(home.client_key(client_id))


@agent_app.command("run")
@reports_failures
def run_agent(
    profile: Annotated[str | None, typer.Option(help="counter, kiosk, transit")] = None,
    port: Annotated[int | None, typer.Option(help="HTTP 端口 / HTTP port, 0 = any")] = None,
    ws_port: Annotated[int | None, typer.Option(help="WebSocket 端口 / WebSocket port, 0 = any")] = None,
    issuance_url: Annotated[str | None, typer.Option(help="发卡服务地址 / address of the issuance service")] = None,
    client_key: Annotated[Path | None, typer.Option(help="终端密钥文件 / the terminal's key file")] = None,
    psam_reader: Annotated[list[str] | None, typer.Option(help="PSAM 所在读卡器 / reader of the PSAM")] = None,
    allow_origin: Annotated[list[str] | None, typer.Option(help="允许的网页来源 / allowed web origin")] = None,
    pair_origin: Annotated[list[str] | None, typer.Option(help="配对后允许的网页 / origin allowed once paired")] = None,
    mt3_reader: Annotated[list[str] | None, typer.Option(help="MT3 读写器串口 / port of an MT3 reader")] = None,
    id_card_module: Annotated[str | None, typer.Option(help="身份证模块串口 / port of the ID-card module")] = None,
    scanner: Annotated[str | None, typer.Option(help="扫码器串口 / port of the QR scanner")] = None,
    pin_pad: Annotated[str | None, typer.Option(help="密码键盘串口 / port of the PIN pad")] = None,
    card_printer: Annotated[str | None, typer.Option(help="卡面打印机地址 / printer's bridge, host:port")] = None,
    receipt_printer: Annotated[str | None, typer.Option(help="凭条打印机地址或串口 / host:port or port")] = None,
    camera: Annotated[str | None, typer.Option(help="摄像头，file:文件夹 / camera, file:FOLDER")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="终端保存数据的文件夹 / what the agent keeps")] = None,
    catalog_url: Annotated[str | None, typer.Option(help="目录和黑名单的发布地址 / repository to fetch from")] = None,
    catalog_root: Annotated[Path | None, typer.Option(help="发布的根文件 / its first root file")] = None,
    transit_rules: Annotated[Path | None, typer.Option(help="闸机的规则文件 / the rules of a gate")] = None,
    display: Annotated[bool, typer.Option("--display", help="闸机画面也显示在这里 / show the gate here too")] = False,
    config: agent_config.ConfigOption = None,
    readers: Annotated[str, typer.Option(help="auto, pcsc, vpcd")] = "auto",
    ready_file: ReadyFile = None,
) -> None:
    """启动终端服务：只听本机 / run the local service on 127.0.0.1.

    \b
    Example: ./onecard agent run --profile counter --issuance-url http://127.0.0.1:8400 --client-key hall-3.json
             ./onecard agent run --profile transit --transit-rules bus.toml --state-dir gate --display
    """
    from apdu.vpcd import VpcdReaders
    from terminal_agent.server import Ready, run

    log_to_stderr("%(asctime)s %(levelname)s %(name)s %(message)s")
    given = {
        "profile": profile,
        "port": port,
        "ws_port": ws_port,
        "issuance_url": issuance_url,
        "client_key": client_key,
        "psam_readers": tuple(psam_reader) if psam_reader else None,
        "allowed_origins": tuple(allow_origin) if allow_origin else None,
        "pairing_origins": tuple(pair_origin) if pair_origin else None,
        "mt3_readers": tuple(mt3_reader) if mt3_reader else None,
        "id_card_module": id_card_module,
        "scanner": scanner,
        "pin_pad": pin_pad,
        "card_printer": card_printer,
        "receipt_printer": receipt_printer,
        "camera": camera,
        "state_dir": state_dir,
        "catalog_url": catalog_url,
        "catalog_root": catalog_root,
        "transit_rules": transit_rules,
        "transit_display": display or None,
    }
    settings = agent_config.effective(config, given).settings
    if settings.transit_display:  # the gate's picture has the terminal for itself
        logging.getLogger().setLevel(logging.WARNING)
    service = reader_service(readers)
    slots = service.ports if isinstance(service, VpcdReaders) else []

    def ready(where: Ready) -> None:
        gc.set_threshold(700, 10, 10)  # Python's own: from here on memory counts, not the start
        write_ready(ready_file, {"url": where.url, "ws_url": where.ws_url, "slots": slots})
        print(f"agent {where.url} {where.ws_url}", flush=True)
        if settings.transit_rules is not None:
            print(f"gate {where.url}/gate", flush=True)

    run(settings, service, on_ready=ready)


def reader_service(kind: str) -> ReaderService:
    """`pcsc`, or `vpcd`: slots that simulated cards plug into without a PC/SC service; `auto` takes what works."""
    from apdu.pcsc import PcscReaders, is_available
    from apdu.vpcd import VpcdReaders
    from onecard_cli.readers import offered_ports

    ports = offered_ports()
    if kind == "pcsc" or (kind == "auto" and not ports and is_available()[0]):
        return PcscReaders()
    return VpcdReaders(ports) if ports else VpcdReaders()
