"""What `agent register` says of a folder it cannot use."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from onecard_cli.services import agent_app


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    taken = tmp_path / "state"
    taken.write_text("")
    told = CliRunner().invoke(
        agent_app, ["register", "https://centre.example", "K7QM-2XWP-9RTA", "--state-dir", str(taken)]
    )
    assert told.exit_code == 1
    assert "INPUT_INVALID" in told.output
    assert "--state-dir" in told.output
