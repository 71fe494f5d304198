"""Settings of the issuance service, from ONECARD_ISSUANCE_* environment variables."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from cardlib.client_auth import DEFAULT_AUDIENCE


class Settings(BaseSettings):
    """`database_url`: sqlite+aiosqlite, or postgresql with or without +psycopg.

    `metrics_token` opens /metrics to whoever sends it as a bearer token; without one /metrics needs an operator.
    `centre_id` is the audience that every caller's assertions must name (`audience` in its key file).
    """

    model_config = SettingsConfigDict(
        env_prefix="ONECARD_ISSUANCE_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    centre_id: str = Field(default=DEFAULT_AUDIENCE, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    database_url: str = "sqlite+aiosqlite:///issuance.db"
    host: str = "127.0.0.1"
    port: int = Field(default=8400, ge=0, le=65535)
    metrics_token: SecretStr | None = Field(default=None, min_length=16)
    rules_path: Path | None = None
    catalog_path: Path | None = None
    body_limit_bytes: int = Field(default=1 << 20, ge=1024)
    body_timeout_s: float = Field(default=30.0, gt=0)
    code_ttl_s: int = Field(default=60, ge=1, le=60)
    idempotency_ttl_h: int = Field(default=24, ge=1)
    stuck_deadline_h: int = Field(default=24, ge=1)
    database_timeout_s: float = Field(default=15.0, gt=0)
