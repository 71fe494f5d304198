"""Times as pages show them: China Standard Time, 24 hours."""

from __future__ import annotations

from datetime import date, datetime

from issuance.clock import CHINA


def china(moment: datetime | None) -> str:
    """2026-01-05 09:00, empty for none."""
    return "" if moment is None else moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M")


def day(value: date | str | None) -> str:
    """2026-01-05, also of YYYYMMDD as cards have it."""
    if isinstance(value, str):
        return f"{value[:4]}-{value[4:6]}-{value[6:]}" if len(value) == 8 else value
    return "" if value is None else value.isoformat()
