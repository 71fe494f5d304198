"""A province's key hierarchy out of one ceremony secret: national test roots, the province's, its cities'.

National roots keep an empty region and the level the card specification gives them; what was derived for a region
carries its code. Cards cannot tell which of them gave a key, so simulated cards, made with the national roots, fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hsm import ceremony
from hsm.act_log import ActLog, Result
from hsm.api import CARD_ALGORITHMS, BadInputError, KeyInfo, KeyRef
from hsm.officers import Officers
from hsm.primitives import default_engine
from hsm.service import StoreKeyService
from onecard_cli.home import Home, import_roots
from onecard_cli.operator_keys import import_operator_roots
from simulators.ministry import RootKeys, key_lengths

PROVINCE_LEVEL, CITY_LEVEL = 2, 3


@dataclass(frozen=True, slots=True)
class Regions:
    """A province and its cities by six-digit codes; the first two digits are the province's."""

    province: str
    cities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for code in (self.province, *self.cities):
            if len(code) != 6 or not (code.isascii() and code.isdigit()):
                raise BadInputError(f"{code}: a division code has six digits")
        if any(city[:2] != self.province[:2] for city in self.cities):
            raise BadInputError("a city's code begins as its province's")
        if len({self.province, *self.cities}) != 1 + len(self.cities):
            raise BadInputError("the same division code twice")


def ceremony_roots(secret: bytes) -> RootKeys:
    """Every root the card specification names, in both environments."""
    engine = default_engine()
    return RootKeys(
        {
            algorithm.value: {
                name: ceremony.root_value(engine, secret, name, algorithm, length)
                for name, length in key_lengths(algorithm.value).items()
            }
            for algorithm in CARD_ALGORITHMS
        }
    )


def derive_regions(service: StoreKeyService, regions: Regions) -> None:
    """The province's roots of keys the nation holds, and of each city those that stay above it."""
    nation = service.keys()
    for info in nation:
        if info.ref.region or info.ref.name not in key_lengths(info.ref.algorithm.value):
            continue
        source = info.ref
        if info.level == 1:
            source = _region_root(info.ref, regions.province)
            service.derive_root(source, info.ref, level=PROVINCE_LEVEL)
        if info.level in (1, PROVINCE_LEVEL):
            for city in regions.cities:
                service.derive_root(_region_root(info.ref, city), source, level=CITY_LEVEL)


def make_hierarchy(
    home: Home, secret: bytes, regions: Regions, officers: Mapping[str, str], *, detail: str, with_simulator: bool
) -> list[KeyInfo]:
    """The whole store or nothing of it; returns its keys. `officers` are names and passphrases."""
    roots = ceremony_roots(secret)
    with home.making() as made, home.create_store(made.key_store) as service:
        import_roots(service, roots)
        import_operator_roots(service, roots)
        derive_regions(service, regions)
        Officers(service, made.key_store).register(officers)
        kcv = ceremony.secret_kcv(default_engine(), secret).hex().upper()
        ActLog(service, made.key_store).append(tuple(officers), "init", Result.DONE, kcv=kcv, detail=detail)
        if with_simulator:
            roots.save(made.ministry)
        return service.keys()


def _region_root(ref: KeyRef, region: str) -> KeyRef:
    return KeyRef(ref.name, ref.algorithm, ref.version, region)
