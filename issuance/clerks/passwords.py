"""Passwords (Argon2id, RFC 9106) and one-time codes (TOTP, RFC 6238)."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from issuance.input_rules import field_error
from issuance.problems import bad_input

MIN_LENGTH = 12
MAX_LENGTH = 128
STEP_S = 30
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Of temporary passwords, which are read from paper: nothing that looks like another letter."""
_MIN_DISTINCT = 6
_WORKERS = ThreadPoolExecutor(2, "argon2")
"""Two at a time: each takes 64 MiB."""

_CLERKS = PasswordHasher()
_KEYED = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""For keyed digests, which nobody can try without the key service: the least that OWASP's cheat sheet names. Holders
ask for it a thousand times as often as clerks."""
_hasher, _keyed_hasher = _CLERKS, _KEYED
_nobody = ""


def use_hasher(hasher: PasswordHasher | None) -> None:
    """For tests, which cannot wait; None for the service's own again."""
    global _hasher, _keyed_hasher, _nobody
    _hasher, _keyed_hasher, _nobody = hasher or _CLERKS, hasher or _KEYED, ""


async def hash_password(password: str) -> str:
    return await asyncio.get_running_loop().run_in_executor(_WORKERS, _hasher.hash, _normal(password))


async def hash_keyed(digest: str) -> str:
    """Of a digest under a key that is not in the database; `fits` takes either kind."""
    return await asyncio.get_running_loop().run_in_executor(_WORKERS, _keyed_hasher.hash, digest)


async def fits(password: str, stored: str | None) -> bool:
    """Takes as long for None, a clerk nobody knows, as for one who exists."""
    return await asyncio.get_running_loop().run_in_executor(_WORKERS, _fits, password, stored)


def _fits(password: str, stored: str | None) -> bool:
    global _nobody
    if stored is None:
        _nobody = _nobody or _hasher.hash(secrets.token_hex(16))
    try:
        return _hasher.verify(_nobody if stored is None else stored, _normal(password)) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def temporary_password() -> str:
    """75 bits, in groups that can be read aloud."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(3))


def demand_strong(password: str, login: str) -> None:
    """Raises INPUT_INVALID: long enough, of several characters, without the log-in name in it."""
    plain = _normal(password)
    if not MIN_LENGTH <= len(plain) <= MAX_LENGTH:
        raise bad_input(field_error("body.password", "password_length", expected=MIN_LENGTH))
    if len(set(plain)) < _MIN_DISTINCT or login.lower() in plain.lower():
        raise bad_input(field_error("body.password", "password_simple"))


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def new_secret() -> str:
    """Base32, 160 bits (RFC 4226, R6)."""
    return pyotp.random_base32()


def provisioning_uri(secret: str, login: str, issuer: str) -> str:
    """What an authenticator app scans."""
    return pyotp.TOTP(secret).provisioning_uri(name=login, issuer_name=issuer)


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """The time step whose code this is, the one before and after included; None when it is no code of now."""
    totp = pyotp.TOTP(secret)
    current = int(now.timestamp()) // STEP_S
    found = None
    for step in (current - 1, current, current + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()):
            found = step
    return found
