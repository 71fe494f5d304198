"""`onecard agent config`: is agent.toml right, and which value counts; `onecard agent register`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from terminal_agent.configuration_file import Effective

config_app = typer.Typer(help="终端服务的配置文件 / the agent's configuration file", no_args_is_help=True)
CONFIG_VARIABLE = "ONECARD_AGENT_CONFIG"
ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar=CONFIG_VARIABLE, help="配置文件 / agent.toml", exists=True)
]
_SOURCES = {
    "default": "默认 / default",
    "registration": "登记 / registration",
    "file": "文件 / file",
    "environment": "环境变量 / environment",
    "option": "选项 / option",
    "centre": "中心（签名） / centre, signed",
}


def effective(config: Path | None, options: Mapping[str, Any]) -> Effective:
    """Settings of an agent on this computer. Raises ConfigurationFileError."""
    from terminal_agent.configuration_file import load

    return load(config, {name: value for name, value in options.items() if value is not None})


@config_app.command("check")
@reports_failures
def check(
    file: Annotated[Path, typer.Argument(help="配置文件 / agent.toml")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """检查配置文件：每处错在哪一行、怎么改 / each fault with its line, rule and remedy. Exit status 1 if any.

    \b
    Example: ./onecard agent config check deploy/agent/kiosk.toml
    """
    from dataclasses import asdict

    from terminal_agent.configuration_file import check as faults_of

    faults = faults_of(file)
    if as_json:
        print_json([asdict(fault) for fault in faults])
    else:
        for fault in faults:
            print(f"✗ {file.name}:{fault.line} {fault.field}  {fault.text_zh} / {fault.text_en} [{fault.rule}]")
            print(f"  办法 {fault.remedy_zh} / {fault.remedy_en}")
        if not faults:
            print(f"✓ {file.name}")
    if faults:
        raise typer.Exit(1)


@config_app.command("show")
@reports_failures
def show(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """现在生效的设置，每项由谁决定 / the values in force and where each comes from; keys are shown as paths only.

    \b
    Example: ./onecard agent config show --config deploy/agent/kiosk.toml
    """
    import json

    rows = effective(config, {}).rows()
    if as_json:
        print_json(rows)
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        value = json.dumps(row["value"], ensure_ascii=False)
        print(f"{row['name']:<{width}}  {value}  ← {_SOURCES[row['source']]}")


@reports_failures
def register(
    url: Annotated[str, typer.Argument(help="中心地址 / address of the centre")],
    code: Annotated[str, typer.Argument(help="登记码 / the one-time code")],
    config: ConfigOption = None,
    state_dir: Annotated[Path | None, typer.Option(help="终端保存数据的文件夹 / what the agent keeps")] = None,
) -> None:
    """用一次性登记码登记本终端；密钥在本机生成，不出本机 / register this terminal; its key is made here and stays here.

    \b
    Example: ./onecard agent register https://centre.example K7QM-2XWP-9RTA --config agent.toml
    """
    from cardlib.failures import FailureCode
    from terminal_agent.registration import register as registered_at

    if not url.startswith(("http://", "https://")):
        raise CommandError(FailureCode.INPUT_INVALID, f"{url}: https://…")
    folder = effective(config, {"state_dir": state_dir}).settings.state_dir
    if folder is None:
        raise CommandError(
            FailureCode.INPUT_INVALID, "--state-dir, 或在配置文件写 state_dir / or state_dir in the file"
        )
    try:
        registered = registered_at(url, code, folder)
        _give_to_owner(folder)
    except OSError as error:
        raise CommandError(FailureCode.INPUT_INVALID, f"--state-dir {folder}: {error.strerror}") from None
    print_json(registered.model_dump(mode="json", exclude={"catalog_root"}))


def _give_to_owner(folder: Path) -> None:
    """Run by root for a service of another account: what was made belongs to whoever owns the folder."""
    if os.name != "posix" or os.geteuid() != 0:
        return
    owner = folder.stat()
    for path in (folder / "registration", *(folder / "registration").iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)
