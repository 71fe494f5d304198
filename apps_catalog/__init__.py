"""The application catalog (应用目录): what a social security card can do, where, for whom and with which carrier."""

from apps_catalog.areas import NATIONWIDE
from apps_catalog.catalog import Catalog, load
from apps_catalog.errors import CatalogError, Problem, QueryError, RegionUnknownError
from apps_catalog.model import (
    JOINT,
    LABELS,
    LOCAL,
    Carrier,
    Channel,
    Domain,
    Function,
    Item,
    Level,
    Region,
    Source,
    Standing,
    Text,
    Validation,
)

__all__ = [
    "JOINT",
    "LABELS",
    "LOCAL",
    "NATIONWIDE",
    "Carrier",
    "Catalog",
    "CatalogError",
    "Channel",
    "Domain",
    "Function",
    "Item",
    "Level",
    "Problem",
    "QueryError",
    "Region",
    "RegionUnknownError",
    "Source",
    "Standing",
    "Text",
    "Validation",
    "load",
]
