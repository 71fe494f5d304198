"""示例网站：扫码登录、看到是谁、退出 / an example site: log in by scan, see who it is, log out.

./onecard login client add hall-1 --name 示例办事大厅 --scope profile \
    --redirect http://127.0.0.1:8600/back --logout http://127.0.0.1:8600/ > hall-1.json
python clients/python/example_site.py hall-1.json 8600
"""

import json
import sys
from pathlib import Path
from typing import Any

from example_pages import Sessions, page
from fastapi import FastAPI, Request, Response
from onecard_login import LogInError, OneCardLogin


def make_app(client: dict[str, Any], site: str) -> FastAPI:
    """`client` is what the registration printed, `site` where this one is served."""
    secret = client["client_secret"] or ""
    login = OneCardLogin(client["issuer"], client["client_id"], secret, redirect_uri=f"{site}/back")
    app, sessions = FastAPI(), Sessions()

    @app.get("/")
    def home(request: Request) -> Response:
        return page(sessions.of(request).get("person"))

    @app.get("/enter")
    def enter() -> Response:
        begun = login.begin()
        return sessions.go(begun.url, kept=begun.kept)

    @app.get("/back")
    def back(request: Request) -> Response:
        try:
            person = login.finish(sessions.of(request).pop("kept", {}), request.query_params)
        except LogInError as error:
            return page(None, error.error)
        return sessions.go("/", person=person)

    @app.get("/leave")
    def leave(request: Request) -> Response:
        person = sessions.of(request).get("person")
        return sessions.go(login.logout_url(person, f"{site}/") if person else "/")

    return app


if __name__ == "__main__":
    import uvicorn

    file, port = sys.argv[1], int(sys.argv[2])
    app = make_app(json.loads(Path(file).read_text("utf-8")), f"http://127.0.0.1:{port}")
    uvicorn.run(app, port=port, log_level="warning")
