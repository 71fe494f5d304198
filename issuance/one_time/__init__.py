"""What works once: a store in which of many claimants exactly one is the first."""

from __future__ import annotations

from issuance.clock import Clock
from issuance.one_time.memory import MemoryStore
from issuance.one_time.redis_store import RedisStore
from issuance.one_time.store import Claim, Claiming, OneTimeStore, OneTimeUnavailableError, Outcome
from issuance.settings import Settings

__all__ = ["Claim", "Claiming", "OneTimeStore", "OneTimeUnavailableError", "Outcome", "one_time_store"]


def one_time_store(settings: Settings, clock: Clock) -> OneTimeStore:
    """Redis where the settings name one, else this process's memory."""
    if settings.redis_url is None:
        return MemoryStore(clock)
    return RedisStore(settings.redis_url.get_secret_value(), clock, space=settings.centre_id)
