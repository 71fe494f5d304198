"""The discovery document (OpenID Connect Discovery 1.0, RFC 8414): all that a relying party needs to know."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, get_args

from issuance.login.client_keys import ALGORITHMS
from issuance.login.devices import DEVICE_PATH
from issuance.login.relying_parties import AuthMethod, GrantType, Scope, SigningAlgorithm

AUTHORIZE: Final = "/oidc/authorize"
PAR: Final = "/oidc/par"
TOKEN: Final = "/oidc/token"  # noqa: S105 - a path
USER_INFO: Final = "/oidc/userinfo"
KEYS: Final = "/oidc/jwks"
SM2_KEYS: Final = "/oidc/jwks/sm2"
"""Apart, because libraries that do not know the curve refuse a set with such a key in it (Authlib's does)."""
INTROSPECT: Final = "/oidc/introspect"
REVOKE: Final = "/oidc/revoke"
LOGOUT: Final = "/oidc/logout"
BACKCHANNEL: Final = "/oidc/bc-authorize"
DEVICE_AUTHORIZATION: Final = DEVICE_PATH + "/authorize"


def document(issuer: str, acr_values: Iterable[str]) -> dict[str, Any]:
    methods = list(get_args(AuthMethod))
    confidential = [method for method in methods if method != "none"]
    return {
        "issuer": issuer,
        "authorization_endpoint": issuer + AUTHORIZE,
        "pushed_authorization_request_endpoint": issuer + PAR,
        "token_endpoint": issuer + TOKEN,
        "userinfo_endpoint": issuer + USER_INFO,
        "jwks_uri": issuer + KEYS,
        "sm2_jwks_uri": issuer + SM2_KEYS,
        "introspection_endpoint": issuer + INTROSPECT,
        "revocation_endpoint": issuer + REVOKE,
        "end_session_endpoint": issuer + LOGOUT,
        "device_authorization_endpoint": issuer + DEVICE_AUTHORIZATION,
        "backchannel_authentication_endpoint": issuer + BACKCHANNEL,
        "backchannel_token_delivery_modes_supported": ["poll"],
        "backchannel_user_code_parameter_supported": False,
        "backchannel_authentication_request_signing_alg_values_supported": list(ALGORITHMS),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(get_args(GrantType)),
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": list(get_args(SigningAlgorithm)),
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "introspection_endpoint_auth_methods_supported": confidential,
        "introspection_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": list(get_args(Scope)),
        "claims_supported": [
            "iss",
            "sub",
            "aud",
            "exp",
            "iat",
            "auth_time",
            "nonce",
            "acr",
            "amr",
            "sid",
            "at_hash",
            "name",
            "social_security_number",
        ],
        "acr_values_supported": list(acr_values),
        "prompt_values_supported": ["none", "login"],
        "ui_locales_supported": ["zh-CN", "en"],
        "authorization_response_iss_parameter_supported": True,
        "request_parameter_supported": True,
        "request_object_signing_alg_values_supported": list(ALGORITHMS),
        "request_uri_parameter_supported": False,
        "claims_parameter_supported": False,
        "require_pushed_authorization_requests": False,
    }
