"""`onecard catalog rules`: which rules count when, and whether gates can use them, before they are signed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onecard_cli.output import print_json, reports_failures

if TYPE_CHECKING:
    from cardlib.transit_network import NetworkRules


@reports_failures
def rules(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="要发布的规则 / rules to be published", exists=True, file_okay=False),
    ],
    gate: Annotated[
        list[Path] | None, typer.Option(help="闸机自己的文件 / a gate's own file", exists=True, dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """闸机规则：哪一版从哪天用到哪天，这些闸机能不能用 / which edition counts when; can these gates use it.

    \b
    Example: ./onecard catalog rules docs/transit-rules/published --gate docs/transit-rules/gates/metro-exit.toml
    """
    from cardlib.transit_network import check_published, timeline

    said = check_published({file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()})
    networks = {each.network: [other for other in said if other.network == each.network] for each in said}
    table: dict[str, list[dict[str, Any]]] = {
        network: [
            {"from": str(first), "until": str(last), "version": found and found.version}
            for first, last, found in timeline(editions)
        ]
        for network, editions in networks.items()
    }
    gates = [_gate(file, said) for file in gate or ()]
    if as_json:
        print_json({"networks": table, "gates": gates})
    else:
        for network, stretches in table.items():
            print(network)
            for each in stretches:
                print(f"  {each['from']} … {each['until']}  {each['version'] or '没有 / none'}")
        for told in gates:
            print(f"✓ {told['file']}: {told['mode']} {told['place']} · {', '.join(told['versions'])}")
    if any(each["version"] is None for stretches in table.values() for each in stretches):
        raise typer.Exit(1)


def _gate(file: Path, said: list[NetworkRules]) -> dict[str, Any]:
    """Raises TransitRulesError for rules that this gate could not use."""
    from cardlib.transit_network import GateFile
    from cardlib.transit_rules import TransitRulesError, as_message, read_table

    try:
        own = as_message(GateFile, read_table(file))
        found = [each for each in said if each.network == own.network]
        if not found:
            raise TransitRulesError(f"nothing is published for network {own.network}")
        for each in found:
            own.rules(each)
    except TransitRulesError as error:
        raise TransitRulesError(f"{file.name}: {error}") from None
    place = f"{own.place.line}:{own.place.station}"
    return {"file": file.name, "mode": own.mode.value, "place": place, "versions": [each.version for each in found]}
