"""The centre of `onecard bench --only issue` as a process of its own: it counts its statements and its processor time.

`python -m bench.issue_centre DATABASE_URL KEY_STORE` prints its address, then one JSON line for every line it is sent.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from sqlalchemy import event

from hsm.soft import SoftKeyService
from issuance.app import create_app
from issuance.serving import settle_memory
from issuance.settings import Settings

PASSPHRASE_VARIABLE = "ONECARD_BENCH_PASSPHRASE"


class Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        settle_memory()  # as `onecard issuance serve` does
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


def main(url: str, key_store: str) -> None:
    statements = 0

    def count(*_: Any) -> None:
        nonlocal statements
        statements += 1

    def answer() -> None:
        for _ in sys.stdin:
            print(json.dumps({"statements": statements, "cpu_s": time.process_time()}), flush=True)
        os._exit(0)

    with SoftKeyService.open(Path(key_store), os.environ[PASSPHRASE_VARIABLE]) as keys:
        app = create_app(Settings(database_url=url, tasks_pause_s=0), keys)
        engine = app.state.services.database.engine.sync_engine
        # SQLite's BEGIN is a statement like any other; PostgreSQL's is sent by the driver.
        begins = () if engine.dialect.name == "sqlite" else ("begin",)
        for name in ("before_cursor_execute", "commit", "rollback", *begins):
            event.listen(engine, name, count)
        threading.Thread(target=answer, daemon=True).start()
        config = uvicorn.Config(app, port=0, log_config=None, log_level="critical", access_log=False)
        Server(config).run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
