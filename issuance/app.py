"""The issuance service as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from apps_catalog.catalog import Catalog
from apps_catalog.catalog import load as load_catalog
from cardlib.client_auth import CLERK_HEADER
from hsm.api import KeyService
from hsm.transactions import transaction_keys
from issuance import operations, problems
from issuance.applications import case_endpoints as cases
from issuance.applications import endpoints as applications
from issuance.applications.payments import FeeSystem
from issuance.audit import endpoints as audit
from issuance.audit.refusals import MAX_UNPROVED_A_MINUTE, MinuteLimit
from issuance.audit.seal import AuditSeal
from issuance.bank import endpoints as bank_link
from issuance.bank.link import BankLink, HttpBank
from issuance.bank.receiver import BankReceiver
from issuance.cards import endpoints as cards
from issuance.catalog import endpoints as catalog_endpoints
from issuance.catalog.current import Catalogs
from issuance.catalog.site import pages as catalog_site
from issuance.clerks import endpoints as clerks
from issuance.clerks import staff_endpoints as staff
from issuance.clerks.provider import LoginProvider
from issuance.clerks.staff_endpoints import STAFF
from issuance.clerks.tries import MAX_TRIES_A_MINUTE
from issuance.clients import endpoints as clients
from issuance.clients.directory import ClientDirectory
from issuance.clients.tokens import OPENED, AccessTokens
from issuance.clock import Clock, system_clock
from issuance.codes import bus
from issuance.codes import endpoints as codes
from issuance.codes import token_endpoints as code_tokens
from issuance.codes.ledger import UseLedger
from issuance.consents import endpoints as consents
from issuance.console import app as console
from issuance.database import Database
from issuance.direct import DirectRoutes
from issuance.ecards import endpoints as ecards
from issuance.ecards import family_endpoints as ecard_family
from issuance.ecards.phones import PhoneDirectory
from issuance.ecards.signing import MOST_A_MINUTE as MOST_A_MINUTE_OF_ONE
from issuance.ecards.signing import MOST_OF_A_CHANNEL
from issuance.examples import restore_nulls
from issuance.hsm_route import endpoints as hsm_route
from issuance.hsm_route.service import MAX_USES_A_MINUTE
from issuance.identity.adapters import IdentityCheck, identity_check
from issuance.journeys import endpoints as journeys
from issuance.login import channel_endpoints as login_channels
from issuance.login import denial_endpoints as login_denials
from issuance.login import endpoints as login_protocol
from issuance.login import operator_endpoints as relying_parties
from issuance.login import page as login_page
from issuance.login import phone_endpoints as login_phone
from issuance.login.card_certificates import CardCertificates
from issuance.login.limits import DenyList, LoginLimits
from issuance.login.national import keys as national_keys
from issuance.login.national.platform import NationalPlatform
from issuance.login.signing import LoginKeys
from issuance.login.unit import LoginUnits
from issuance.login.watch import LoginWatch
from issuance.metrics import Metrics
from issuance.middleware import RequestMiddleware
from issuance.newborns import endpoints as newborns
from issuance.offices import endpoints as offices
from issuance.one_time import one_time_store
from issuance.outbox import endpoints as outbox
from issuance.outbox.delivery import NoticeLog, Receiver
from issuance.person_file import endpoints as person_file
from issuance.photos import endpoints as photos
from issuance.privacy import endpoints as privacy
from issuance.privacy.service import MAX_REVEALS_A_MINUTE
from issuance.production import endpoints as production
from issuance.progress import endpoints as progress
from issuance.progress.service import MOST_A_MINUTE
from issuance.publication import endpoints as publication
from issuance.recognition import endpoints as recognition
from issuance.recognition.platforms import code_platforms
from issuance.rules import load_rules
from issuance.sealing import Sealer, ensure_seal_keys
from issuance.self_service import endpoints as self_service
from issuance.self_service.holders import MOST_OF_A_KIOSK
from issuance.services import Services
from issuance.sessions import endpoints as sessions
from issuance.sessions.runner import RunnerCache
from issuance.settings import Settings
from issuance.stock import endpoints as stock
from issuance.stock import movement_endpoints as stock_movements
from issuance.supervision import endpoints as supervision
from issuance.supervision.rules import alert_rules
from issuance.tasks import running
from issuance.terminals import endpoints as terminals
from issuance.terminals import fleet_endpoints as fleet
from issuance.terminals.registrations import MOST_A_MINUTE as MOST_REGISTRATIONS_A_MINUTE
from issuance.transit_codes import endpoints as transit_codes
from issuance.transit_codes.issuer import TransitIssuer
from issuance.transit_codes.service import MOST_A_MINUTE as MOST_TRANSIT_AUTHORISATIONS_A_MINUTE

TITLE = "OneCard issuance"
_DOMAINS = (
    codes,  # first, because routes are tried in turn and this is what is asked most
    bus,
    code_tokens,
    cases,  # before the applications: "stuck" is no id
    applications,
    sessions,
    ecards,
    ecard_family,
    transit_codes,
    recognition,
    consents,
    login_phone,
    login_protocol,
    relying_parties,
    login_denials,
    login_channels,
    national_keys,
    cards,
    bank_link,
    outbox,
    stock,
    stock_movements,
    production,
    clients,
    offices,
    clerks,
    staff,
    audit,
    privacy,
    hsm_route,
    terminals,
    fleet,
    journeys,
    self_service,
    photos,
    newborns,
    supervision,
    person_file,
    progress,
    catalog_endpoints,
    publication,
    operations,
)
_OPEN_PATHS = frozenset(
    {
        "/healthz",
        "/v1/catalog",
        "/v1/catalog/what",
        "/v1/progress",
        "/v1/terminals/registrations",
        "/ecard/v1/bus",
        "/v1/distribution/metadata/{name}",
        "/v1/distribution/targets/{path}",
    }
)


def create_app(
    settings: Settings,
    keys: KeyService,
    *,
    clock: Clock = system_clock,
    catalog: Catalog | None = None,
    bank: BankLink | None = None,
    identity: IdentityCheck | None = None,
) -> FastAPI:
    """Build the service over a migrated database (`issuance.database.migrate`) and an open key service.

    The caller keeps and closes `keys`; the app closes its database and bank connections on shutdown, and runs the
    background jobs while it lives. `bank` and `identity` stand in for those that the settings name.
    """
    services = create_services(settings, keys, clock=clock, catalog=catalog, bank=bank, identity=identity)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with running(services):
            yield
        await close_services(services)

    app = FastAPI(title=TITLE, version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.services = services
    problems.install(app)
    console.install(app, services)  # before the routes: a page would else be looked for in each of them
    page = login_page.install(app, services)
    catalog_site.install(app, services)
    app.add_middleware(DirectRoutes, routes=codes.DIRECT, plain=login_protocol.DIRECT, pages=[page])
    app.add_middleware(
        RequestMiddleware,
        metrics=services.metrics,
        body_limit=settings.body_limit_bytes,
        body_timeout_s=settings.body_timeout_s,
    )
    for module in _DOMAINS:
        # `include_router` would build every route again in each app, and look at each twice in every request.
        app.router.routes.extend(module.router.routes)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def create_services(
    settings: Settings,
    keys: KeyService,
    *,
    clock: Clock = system_clock,
    catalog: Catalog | None = None,
    bank: BankLink | None = None,
    identity: IdentityCheck | None = None,
) -> Services:
    """What requests and background jobs share; to be closed by `close_services`."""
    ensure_seal_keys(keys)
    alert_rules(settings.alerts_path)  # a wrong file is told now, not by a job in the background
    if bank is None and settings.bank_url is not None:
        token = None if settings.bank_token is None else settings.bank_token.get_secret_value()
        bank = HttpBank(settings.bank_url, clock, token=token)
    receivers: dict[str, Receiver] = {"notice": NoticeLog()}
    if bank is not None:
        receivers["bank"] = BankReceiver(bank)
    if settings.payment_url is not None:
        fee_token = None if settings.payment_token is None else settings.payment_token.get_secret_value()
        receivers["payment"] = FeeSystem(settings.payment_url, token=fee_token)
    database = Database(settings.database_url, timeout_s=settings.database_timeout_s)
    audit_seal = AuditSeal(keys)
    one_time = one_time_store(settings, clock)
    sealer, known_clients = Sealer(keys), ClientDirectory(database)
    packaged = load_catalog(settings.catalog_path) if catalog is None else catalog
    return Services(
        settings=settings,
        keys=keys,
        sealer=sealer,
        audit_seal=audit_seal,
        reveals=MinuteLimit(MAX_REVEALS_A_MINUTE),
        database=database,
        rules=load_rules(settings.rules_path),
        catalog=packaged,
        catalogs=Catalogs(database, clock, packaged, settings.catalog_path),
        clock=clock,
        metrics=Metrics(),
        runners=RunnerCache(),
        unproved=MinuteLimit(MAX_UNPROVED_A_MINUTE),
        log_ins=MinuteLimit(MAX_TRIES_A_MINUTE),
        login_provider=LoginProvider(settings.console_client_path, clock),
        progress=MinuteLimit(MOST_A_MINUTE),
        registrations=MinuteLimit(MOST_REGISTRATIONS_A_MINUTE),
        transactions=transaction_keys(keys),
        hsm_uses=MinuteLimit(MAX_USES_A_MINUTE),
        kiosk_visits=MinuteLimit(MOST_OF_A_KIOSK),
        kiosk_persons=MinuteLimit(settings.kiosk_person_minute),
        signings=MinuteLimit(MOST_A_MINUTE_OF_ONE),
        channel_signings=MinuteLimit(MOST_OF_A_CHANNEL),
        bank=bank,
        receivers=receivers,
        identity=identity_check(settings) if identity is None else identity,
        one_time=one_time,
        clients=known_clients,
        access_tokens=AccessTokens(one_time, sealer, known_clients),
        phones=PhoneDirectory(database),
        code_uses=UseLedger(database, audit_seal, one_time),
        code_platforms=code_platforms(settings, clock),
        transit_issuer=TransitIssuer(keys, settings.transit_certificate_path),
        transit_authorisations=MinuteLimit(MOST_TRANSIT_AUTHORISATIONS_A_MINUTE),
        login_keys=LoginKeys(keys),
        login_limits=LoginLimits(
            DenyList.of(settings.login_denied),
            MinuteLimit(settings.login_network_minute),
            MinuteLimit(settings.login_client_minute),
        ),
        login_units=LoginUnits(),
        card_certificates=CardCertificates(settings.login_card_anchors, settings.login_card_revocations),
        login_watch=LoginWatch(database, clock),
        national=None if settings.login_national_url is None else NationalPlatform(settings, clock),
    )


async def close_services(services: Services) -> None:
    services.login_watch.close()
    if services.bank is not None:
        await services.bank.aclose()
    await services.identity.close()
    for platform in services.code_platforms.values():
        await platform.close()
    if services.national is not None:
        await services.national.close()
    await services.one_time.close()
    await services.database.close()


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The generated description plus what every endpoint shares: problems, signed requests, the clerk header."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
    components = schema.setdefault("components", {})
    model = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"] |= model.pop("$defs", {}) | {"Problem": model}
    restore_nulls(components["schemas"])
    components["securitySchemes"] = {
        "clientAssertion": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "One Ed25519-signed assertion per request, see cardlib.client_auth",
        },
        "accessToken": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `POST /v1/token`, good for minutes",
        },
        "clerkSession": {
            "type": "apiKey",
            "in": "cookie",
            "name": "__Host-onecard",
            "description": "Session of a clerk; whatever changes something needs the header X-CSRF-Token too",
        },
    }
    problem = {
        "description": "Problem details (RFC 9457)",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    clerk = {
        "name": CLERK_HEADER,
        "in": "header",
        "required": False,
        "description": "Who sits at the client; recorded in the audit trail",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    }
    for path, operations_of_path in schema["paths"].items():
        for method, operation in operations_of_path.items():
            operation["responses"]["default"] = problem
            if "422" in operation["responses"]:
                operation["responses"]["422"] = problem
            if path.startswith(STAFF):
                operation["security"] = [{"clerkSession": []}]
            elif path not in _OPEN_PATHS:
                operation["security"] = [{"clientAssertion": []}]
                if f"{method.upper()} {path}" in OPENED:
                    operation["security"].append({"accessToken": []})
                operation.setdefault("parameters", []).append(clerk)
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    app.openapi_schema = schema
    return schema
