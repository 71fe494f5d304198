"""The files of one fetched set as what they are: catalog, block list, configuration, releases, what transit needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from apps_catalog import Catalog
from apps_catalog.block_list import BlockList
from apps_catalog.block_list.files import FILTER
from cardlib.transit_code_anchors import TransitAnchorsError, TrustAnchors
from terminal_agent.catalog.configuration import Configuration, ConfigurationError
from terminal_agent.catalog.releases import Releases, ReleasesError
from terminal_agent.settings import Profile

ANCHORS: Final = "trust-anchors/transit-codes.json"
RELEASES: Final = "agent-updates/manifest.json"
RULES_ROLE: Final = "transit-rules"
MAX_RULES: Final = 1 << 20
T = TypeVar("T")


class ContentError(Exception):
    """A signed file that is not what its place says; the set it came with is not used."""

    failure: ClassVar[str] = "PUBLICATION_INVALID"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a set holds for one kind of terminal; None where it has no such files.

    `transit_rules`: by file name, as they are and of all networks; a gate that cannot use its own keeps those it had,
    and takes the rest of the set. None for other terminals, and before anything was fetched.
    """

    catalog: Catalog | None
    block_list: BlockList | None
    anchors: TrustAnchors | None
    configuration: Configuration | None
    releases: Releases | None
    transit_rules: Mapping[str, bytes] | None = None

    @classmethod
    def open(cls, files: Path, profile: Profile, *, at_least: int = 0) -> Contents:
        """The files of a set, all but the catalog; `at_least`: the block list's highest edition used here before.

        Close it. Raises ContentError, BlockListError, OlderListError.
        """
        anchors = _read(files, ANCHORS, TrustAnchors.parse)
        configuration = _read(files, configuration_path(profile), Configuration.parse)
        releases = _read(files, RELEASES, Releases.parse)
        folder = files / "blocklist"
        block_list = BlockList(folder, at_least=at_least) if (folder / FILTER).is_file() else None
        rules = _rules(files / RULES_ROLE) if profile is Profile.TRANSIT else None
        return cls(None, block_list, anchors, configuration, releases, rules)

    def close(self) -> None:
        if self.block_list is not None:
            self.block_list.close()


def check_role(role: str, files: Mapping[str, bytes]) -> None:
    """Refuse, before it is signed, what terminals could not use. Raises ContentError.

    Stricter than a terminal: a setting that is not known here, or a file without a meaning, is a slip of the pen.
    """
    if role == RULES_ROLE:
        _check_rules(files)
    if role not in _ROLES:
        return
    for name, raw in files.items():
        kind = _ROLES[role].get(name)
        if kind is None:
            raise ContentError(f"{role} has no file {name}; there are {', '.join(_ROLES[role])}")
        parsed = _parsed(f"{role}/{name}", raw, kind)
        if isinstance(parsed, Configuration) and parsed.unknown:
            raise ContentError(f"{role}/{name}: no setting {', '.join(parsed.unknown)}")


def configuration_path(profile: Profile) -> str:
    return f"terminal-configuration/{profile.value}.json"


_ROLES: Final[dict[str, dict[str, Callable[[bytes], Any]]]] = {
    "trust-anchors": {ANCHORS.rpartition("/")[2]: TrustAnchors.parse},
    "terminal-configuration": {
        configuration_path(profile).rpartition("/")[2]: Configuration.parse for profile in Profile
    },
    "agent-updates": {RELEASES.rpartition("/")[2]: Releases.parse},
}


def _rules(folder: Path) -> dict[str, bytes]:
    """One that is too long is cut, and no rules then."""
    found = {}
    for place in sorted(folder.glob("*.toml")):
        with place.open("rb") as file:
            found[place.name] = file.read(MAX_RULES + 1)
    return found


def _check_rules(files: Mapping[str, bytes]) -> None:
    from cardlib.transit_network import check_published
    from cardlib.transit_rules import TransitRulesError

    try:
        check_published(files)
    except TransitRulesError as error:
        raise ContentError(f"{RULES_ROLE}: {error}") from error


def _read(files: Path, path: str, parse: Callable[[bytes], T]) -> T | None:
    place = files / path
    return _parsed(path, place.read_bytes(), parse) if place.is_file() else None


def _parsed(path: str, raw: bytes, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(raw)
    except (TransitAnchorsError, ConfigurationError, ReleasesError) as error:
        raise ContentError(f"{path}: {error}") from error
