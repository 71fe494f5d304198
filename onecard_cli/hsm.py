"""`onecard hsm`: the embedded key service."""

from __future__ import annotations

import typer

from onecard_cli import key_acts, key_backup, key_ceremony, key_server, key_views

hsm_app = typer.Typer(help="密钥服务 / the key service", no_args_is_help=True, add_completion=False)
hsm_app.command("init")(key_ceremony.init)
hsm_app.command("restore-from-shares")(key_ceremony.restore_from_shares)
hsm_app.command("status")(key_views.status)
hsm_app.command("derive")(key_views.derive)
hsm_app.command("keygen")(key_acts.keygen)
hsm_app.command("import")(key_acts.import_key)
hsm_app.command("rotate")(key_acts.rotate)
hsm_app.command("retire")(key_acts.retire)
hsm_app.command("destroy")(key_acts.destroy)
hsm_app.command("passphrase")(key_acts.passphrase)
hsm_app.command("backup")(key_backup.backup)
hsm_app.command("restore")(key_backup.restore)
hsm_app.command("log")(key_acts.log)
hsm_app.command("serve")(key_server.serve)
