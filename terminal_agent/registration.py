"""How a terminal becomes known to its centre: a one-time code, and a key of its own that never leaves it.

`state_dir/registration/` is made whole or not at all: `client.json` (the key), `registration.json` (what the centre
said), `root.json` (first root of what it publishes). The key lies in `state_dir/registering.json` before the centre is
asked, so that after a lost answer the same code with the same key gets the same answer.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import ValidationError

from cardlib.terminal_state import Registered, RegistrationRequest, normal_code, proof_text
from terminal_agent.centre import CentreUnreachableError, refusal_of
from terminal_agent.problems import AgentError

if TYPE_CHECKING:
    import httpx

    from cardlib.client_auth import ClientKey

FOLDER: Final = "registration"
_PENDING: Final = "registering.json"
_NAMELESS: Final = "registering"
TIMEOUT_S: Final = 30.0
LOG = logging.getLogger("terminal_agent.registration")


class AlreadyRegisteredError(AgentError):
    """This terminal has a key and a number; a new registration needs the old folder moved away."""

    failure: ClassVar[str] = "CONFLICT"


def registered_settings(state_dir: Path | None) -> dict[str, Any]:
    """What the registration decides of `AgentSettings`; empty where there is none that can be read."""
    if state_dir is None:
        return {}
    folder = state_dir / FOLDER
    try:
        told = json.loads((folder / "registration.json").read_bytes())
        registered = Registered.model_validate(told["answer"])
        found = {
            "issuance_url": str(told["url"]),
            "client_key": folder / "client.json",
            "device_number": registered.device_number,
            "profile": registered.profile,
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        LOG.error("the registration kept here cannot be used: %s", type(error).__name__)
        return {}
    if registered.catalog_root is not None:
        found |= {"catalog_url": f"{told['url']}/v1/distribution", "catalog_root": folder / "root.json"}
    return found


def register(url: str, code: str, state_dir: Path, *, transport: httpx.BaseTransport | None = None) -> Registered:
    """Raises AlreadyRegisteredError, CentreUnreachableError, CentreRefusedError, ClientKeyError, OSError."""
    folder = state_dir / FOLDER
    if folder.exists():
        raise AlreadyRegisteredError(f"{FOLDER}: this terminal is registered")
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    key, url = _pending_key(state_dir / _PENDING), url.rstrip("/")
    code = normal_code(code)
    request = RegistrationRequest(
        code=code, public_jwk=key.public_jwk(), proof=key.sign(proof_text(code, key.public_jwk())).hex()
    )
    registered = _asked(url, request, transport)
    _keep(folder, url, replace(key, client_id=registered.client_id, audience=registered.audience), registered)
    (state_dir / _PENDING).unlink()
    return registered


def _pending_key(path: Path) -> ClientKey:
    from cardlib.client_auth import ClientKey

    if not path.exists():
        ClientKey.generate(_NAMELESS).save(path)
    return ClientKey.load(path)


def _asked(url: str, request: RegistrationRequest, transport: httpx.BaseTransport | None) -> Registered:
    import httpx

    path = "/v1/terminals/registrations"
    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT_S, transport=transport, trust_env=False) as http:
            answer = http.post(path, content=request.model_dump_json(), headers={"Content-Type": "application/json"})
    except httpx.HTTPError as error:
        raise CentreUnreachableError(f"{type(error).__name__} on {path}") from error
    if not answer.is_success:
        raise refusal_of(answer.status_code, answer.content)
    try:
        return Registered.model_validate_json(answer.content)
    except ValidationError:
        raise CentreUnreachableError(f"no registration came back from {path}") from None


def _keep(folder: Path, url: str, key: ClientKey, registered: Registered) -> None:
    new = folder.with_name(f".{FOLDER}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    key.save(new / "client.json")
    told = {"url": url, "answer": registered.model_dump(mode="json")}
    files = {"registration.json": json.dumps(told, ensure_ascii=False, indent=1)}
    if registered.catalog_root is not None:
        files["root.json"] = registered.catalog_root
    for name, text in files.items():
        with (new / name).open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    new.rename(folder)
    if os.name == "posix":
        descriptor = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
