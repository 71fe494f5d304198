"""Settings of the issuance service, from ONECARD_ISSUANCE_* environment variables."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from cardlib.client_auth import DEFAULT_AUDIENCE


class Settings(BaseSettings):
    """`database_url`: sqlite+aiosqlite, or postgresql with or without +psycopg.

    `metrics_token` opens /metrics to whoever sends it as a bearer token; without one /metrics needs an operator.
    `hsm_addresses` maps key names to 密钥地址, as the terminals have them; a name that is not in it is its own address.
    `tasks_pause_s`: seconds between two rounds of the background jobs, 0 runs none. `reconcile_hour` is China time.
    `identity_url` asks the public-security service, signed with the client key file `identity_key_path`; without it
    only invented people can be checked.
    `clerk_idle_min` ends a clerk's session that nobody uses, `clerk_session_h` every one; pages lock after
    `clerk_lock_min` without a key or a hand; `approval_keep_h`: how long an act waits for a second clerk.
    `alerts_path` names another file of alert rules; they are looked at every `alerts_pause_s` seconds.
    `console_client_path`: what a log-in provider told at the registration of the console, to log clerks in by scan
    (docs/console.md); it may come later than the service.
    `agent_urls`: where pages of the console find the agent of the computer they are shown on; the first that answers.
    `audit_heads_path`: file that signed heads of the audit log are appended to; `audit_wait_s`: an entry that waits
    longer for its place in the log is a fault.
    `redis_url`: the one-time store all replicas share; without it each process has its own, for one process only.
    `consent_wait_min`: how long a request for consent waits for its holder, of whom at most `consent_open_max` wait.
    `code_platforms`: addresses of platforms whose codes are recognised, by family of codes (docs/recognition.md), asked
    with the client key file `code_platforms_key_path` within `code_platforms_timeout_s`.
    `transit_certificate_path`: issuer certificate that transit authorisations are given under (docs/transit-code.md);
    `transit_platform`: 发码平台编号 in them, 4 bytes in hex; `transit_anchors_path`: roots of transit codes of gates.
    `transit_issuers`: first eight digits of the issuers whose purses' keys are here; none: those of all purses.
    `publication_path`: repository that terminals fetch from (docs/publication.md), shared by all replicas; every
    `publication_delta_s` seconds what changed is published, every `publication_full_h` hours a whole block list.
    `login_issuer`: address under which relying parties and browsers reach this service; https, or http on this machine.
    `login_denied`: networks, addresses and ids of relying parties that nobody logs in from or to;
    `login_network_minute`, `login_client_minute`: log-ins a minute that one network, one relying party may begin.
    `login_card_anchors`: PEM certificates of the offices that certify cards; with them people log in by card and PIN.
    `login_card_revocations`: the offices' lists of revoked certificates, in PEM.
    `login_national_url`: bus of the national platform, which people may log in with (docs/login-ministry.md), as the
    channel `login_national_channel` and `login_national_access` under `login_national_name`, within
    `login_national_timeout_s`; `login_national_page` is where browsers are handed over to, if they are.
    `kiosk_person_minute`: questions a minute about one person at kiosks.
    `kiosk_login_party`: relying party under which people are known at kiosks by their phone; `ecard_sign_up_url`: where
    a kiosk sends phones that have no electronic card yet.
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
    formats_path: Path | None = None
    body_limit_bytes: int = Field(default=1 << 20, ge=1024)
    body_timeout_s: float = Field(default=30.0, gt=0)
    code_ttl_s: int = Field(default=60, ge=1, le=60)
    idempotency_ttl_h: int = Field(default=24, ge=1)
    stuck_deadline_h: int = Field(default=24, ge=1)
    hsm_addresses: dict[str, str] = Field(default_factory=dict)
    database_timeout_s: float = Field(default=15.0, gt=0)
    redis_url: SecretStr | None = None
    tasks_pause_s: float = Field(default=1.0, ge=0)
    bank_url: str | None = None
    bank_token: SecretStr | None = None
    payment_url: str | None = None
    payment_token: SecretStr | None = None
    reconcile_hour: int = Field(default=2, ge=0, le=23)
    found_card_keep_days: int = Field(default=90, ge=1)
    identity_url: str | None = None
    identity_key_path: Path | None = None
    identity_timeout_s: float = Field(default=3.0, gt=0, le=60)
    identity_pause_s: int = Field(default=60, ge=1)
    audit_heads_path: Path | None = None
    audit_wait_s: int = Field(default=300, ge=1)
    alerts_path: Path | None = None
    alerts_pause_s: int = Field(default=60, ge=1)
    agent_urls: tuple[str, ...] = ("http://127.0.0.1:12343",)
    clerk_idle_min: int = Field(default=15, ge=1, le=240)
    clerk_lock_min: int = Field(default=10, ge=1, le=60)
    clerk_session_h: int = Field(default=10, ge=1, le=24)
    approval_keep_h: int = Field(default=72, ge=1)
    console_client_path: Path | None = None
    consent_wait_min: int = Field(default=10, ge=1, le=1440)
    consent_open_max: int = Field(default=5, ge=1, le=100)
    code_platforms: dict[str, str] = Field(default_factory=dict)
    code_platforms_key_path: Path | None = None
    code_platforms_timeout_s: float = Field(default=2.0, gt=0, le=30)
    transit_certificate_path: Path | None = None
    transit_anchors_path: Path | None = None
    transit_issuers: tuple[str, ...] = ()
    publication_path: Path | None = None
    publication_delta_s: int = Field(default=300, ge=1)
    publication_full_h: int = Field(default=24, ge=1)
    login_issuer: str = Field(
        default="http://127.0.0.1:8400",
        pattern=r"^(https://[A-Za-z0-9.-]+(:[0-9]{1,5})?|http://(127\.0\.0\.1|localhost)(:[0-9]{1,5})?)$",
    )
    login_denied: tuple[str, ...] = ()
    login_national_url: str | None = None
    login_national_page: str | None = None
    login_national_channel: str = Field(default="", pattern=r"^([0-9]{10})?$")
    login_national_access: str = Field(default="", pattern=r"^([0-9]{10})?$")
    login_national_name: str = Field(default="社会保障卡服务中心", min_length=1, max_length=64)
    login_national_timeout_s: float = Field(default=3.0, gt=0, le=30)
    login_network_minute: int = Field(default=120, ge=1)
    login_client_minute: int = Field(default=6000, ge=1)
    login_card_anchors: Path | None = None
    login_card_revocations: Path | None = None
    kiosk_person_minute: int = Field(default=10, ge=1)
    kiosk_login_party: str = Field(default="kiosk", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    ecard_sign_up_url: str | None = Field(default=None, pattern=r"^https?://[!-~]{1,500}$")
    transit_platform: str = Field(default="00000000", pattern="^[0-9A-Fa-f]{8}$")
