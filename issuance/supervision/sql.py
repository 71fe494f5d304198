"""What the two engines say differently: the day in China of a moment, and the seconds between two."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import Date, Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class china_day(FunctionElement[date]):  # noqa: N801 - reads as the SQL function it is
    """The date in China of a moment; China has one time zone, eight hours ahead, all year."""

    type = Date()
    inherit_cache = True
    name = "china_day"


class seconds_between(FunctionElement[float]):  # noqa: N801
    """From the first moment to the second."""

    type = Float()
    inherit_cache = True
    name = "seconds_between"


@compiles(china_day)
def _china_day(element: Any, compiler: Any, **options: Any) -> str:
    return f"CAST(({compiler.process(element.clauses, **options)}) AT TIME ZONE 'UTC' + INTERVAL '8 hours' AS DATE)"


@compiles(china_day, "sqlite")
def _china_day_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"date({compiler.process(element.clauses, **options)}, '+8 hours')"


@compiles(seconds_between)
def _seconds_between(element: Any, compiler: Any, **options: Any) -> str:
    earlier, later = (compiler.process(clause, **options) for clause in element.clauses)
    return f"date_part('epoch', {later} - {earlier})"  # EXTRACT counts in decimals, at three times the cost


@compiles(seconds_between, "sqlite")
def _seconds_between_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    earlier, later = (compiler.process(clause, **options) for clause in element.clauses)
    return f"((julianday({later}) - julianday({earlier})) * 86400.0)"
