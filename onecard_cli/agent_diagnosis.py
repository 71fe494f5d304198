"""`onecard agent diagnose`: the agent's bundle, with what `doctor` finds on this computer."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from onecard_cli.office import AGENT_URL, AgentOption, answered, terminal
from onecard_cli.output import CommandError, reports_failures


@reports_failures
def diagnose(
    out: Annotated[Path, typer.Option(help="存到 / where to")] = Path("onecard-diagnosis.zip"),
    agent: AgentOption = AGENT_URL,
) -> None:
    """打一个诊断包给技术支持，不含个人信息 / a bundle for support, without personal data.

    Works without a running agent too: it then holds what doctor finds.

    \b
    Example: ./onecard agent diagnose --out diagnosis.zip
    """
    from onecard_cli.doctor import all_findings
    from terminal_agent.redaction import masked

    try:
        bundle, said = _of_agent(agent), ""
    except CommandError as error:
        bundle, said = b"", f"{error.failure}"
    findings = [asdict(one) | {"detail": masked(one.detail)} for one in all_findings()]
    made = io.BytesIO(bundle)
    with zipfile.ZipFile(made, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr(
            "doctor.json", json.dumps({"agent": said or "ok", "findings": findings}, ensure_ascii=False, indent=1)
        )
    out.write_bytes(made.getvalue())
    print(out)


def _of_agent(agent: str) -> bytes:
    with terminal(agent, 30) as http:
        return answered(http, "GET", "/diagnosis.zip").content
