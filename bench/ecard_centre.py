"""A server of `onecard bench --only ecard` as a process of its own; prints its port, then serves until its input ends.

`python -m bench.ecard_centre centre|peer DATABASE_URL REDIS_URL KEY_STORE`. The peer is an empty FastAPI endpoint that
does the one store operation a validation cannot do without, over the same class of store.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, SecretStr

from bench.issue_centre import PASSPHRASE_VARIABLE, Server
from hsm.soft import SoftKeyService
from issuance.app import create_app
from issuance.clock import system_clock
from issuance.one_time import one_time_store
from issuance.settings import Settings


class Asked(BaseModel):
    key: str


class Told(BaseModel):
    outcome: str


def peer(settings: Settings) -> FastAPI:
    store = one_time_store(settings, system_clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await store.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.post("/claim")
    async def claim(asked: Asked) -> Told:
        return Told(outcome=(await store.claim(asked.key, "peer", label="identity")).outcome)

    return app


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def main(kind: str, url: str, redis_url: str, key_store: str) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = Settings(database_url=url, redis_url=SecretStr(redis_url))
    with SoftKeyService.open(Path(key_store), os.environ[PASSPHRASE_VARIABLE]) as keys:
        app: Any = peer(settings) if kind == "peer" else create_app(settings, keys)
        config = uvicorn.Config(app, port=0, log_config=None, log_level="critical", access_log=False)
        Server(config).run()


if __name__ == "__main__":
    main(*sys.argv[1:5])
