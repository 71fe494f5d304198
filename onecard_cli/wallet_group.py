"""`onecard wallet`: the phone from the command line."""

from __future__ import annotations

from onecard_cli import wallet, wallet_family, wallet_login

wallet_app = wallet.wallet_app
wallet_app.add_typer(wallet_family.family_app, name="family")
wallet_app.command("login")(wallet_login.login)
