"""`onecard login keys`: the keys that sign tokens."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from onecard_cli import key_acts
from onecard_cli.key_office import OfficerOption
from onecard_cli.output import reports_failures

keys_app = typer.Typer(help="令牌的签名密钥 / keys that sign tokens", no_args_is_help=True, add_completion=False)


@keys_app.command("rotate")
@reports_failures
def rotate(
    algorithm: Annotated[Literal["ES256", "RS256", "SM2-SM3"], typer.Argument(help="令牌的签名算法 / of the tokens")],
    officer: OfficerOption = None,
) -> None:
    """更换签名密钥：马上用新的，旧令牌照样能验 / sign with a new key from now on; old tokens still verify.

    Same as `hsm rotate` of the key, in the key store of this machine; the service need not stop. Destroy the old
    version with `hsm destroy` when no token of it is left.

    \b
    Example: ./onecard login keys rotate ES256
    """
    from issuance.login.signing import KEYS

    key_acts.rotate(KEYS[algorithm].name, KEYS[algorithm].algorithm, officer=officer)
