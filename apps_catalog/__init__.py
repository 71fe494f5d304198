"""The application catalog (应用目录): what a social security card can do, where, for whom and with which carrier."""

from apps_catalog.areas import NATIONWIDE
from apps_catalog.catalog import Catalog, load
from apps_catalog.eligibility import Answer, Eligibility, Holder, Outcome
from apps_catalog.errors import CatalogError, Problem, QueryError, RegionUnknownError
from apps_catalog.model import (
    JOINT,
    LABELS,
    LOCAL,
    Carrier,
    Channel,
    Datum,
    Domain,
    Equipment,
    Function,
    Item,
    Level,
    Place,
    Region,
    Returned,
    Source,
    Standing,
    Text,
    Validation,
)
from apps_catalog.reasons import Ground, Reason
from apps_catalog.rule import CardState, Category, Opened, Rule

__all__ = [
    "JOINT",
    "LABELS",
    "LOCAL",
    "NATIONWIDE",
    "Answer",
    "CardState",
    "Carrier",
    "Catalog",
    "CatalogError",
    "Category",
    "Channel",
    "Datum",
    "Domain",
    "Eligibility",
    "Equipment",
    "Function",
    "Ground",
    "Holder",
    "Item",
    "Level",
    "Opened",
    "Outcome",
    "Place",
    "Problem",
    "QueryError",
    "Reason",
    "Region",
    "RegionUnknownError",
    "Returned",
    "Rule",
    "Source",
    "Standing",
    "Text",
    "Validation",
    "load",
]
