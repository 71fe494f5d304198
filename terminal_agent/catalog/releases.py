"""Which version of this program terminals should run, from the signed `agent-updates/manifest.json`.

The agent tells that there is a newer one, and whether it must be taken; it installs nothing.

    {"format": "agent-updates-1",
     "levels": {"2": {"newest": "0.2.0", "minimum": "0.1.0", "notes": {"zh": "…", "en": "…"},
                      "package": {"name": "onecard-agent_0.2.0_amd64.deb", "bytes": 1, "sha256": "…", "sm3": "…"}}}}

`levels` are those of the local API: counter programs that know level 2 only are served by the newest version that
still speaks it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

FORMAT: Final = "agent-updates-1"
MAX_BYTES: Final = 1 << 18
EXAMPLE: Final[dict[str, Any]] = {
    "newest": "0.2.0",
    "minimum": "0.1.0",
    "notes": {"zh": "修正读卡问题", "en": "Mends a fault in reading cards"},
    "package": {"name": "onecard-agent_0.2.0_amd64.deb", "bytes": 31457280, "sha256": "5e" * 32, "sm3": "3a" * 32},
}

Version = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Level = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,2}$")]
Note = Annotated[str, Field(min_length=1, max_length=4000)]


class ReleasesError(ValueError):
    """A file that is no update manifest; none of it is used."""

    failure: ClassVar[str] = "INPUT_INVALID"


def _part(**example: Any) -> ConfigDict:
    return ConfigDict(extra="ignore", frozen=True, json_schema_extra={"examples": [example]} if example else None)


class _Part(BaseModel):
    model_config = _part()


class Package(_Part):
    """The file an administrator installs; where it lies is for the centre to say in `notes`."""

    model_config = _part(**EXAMPLE["package"])

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}$")]
    bytes: Annotated[int, Field(gt=0)]
    sha256: Digest
    sm3: Digest


class Notes(_Part):
    model_config = _part(**EXAMPLE["notes"])

    zh: Note
    en: Note


class Release(_Part):
    """A version below `minimum` must not go on being used."""

    newest: Version
    minimum: Version
    notes: Notes
    package: Package

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if _order(self.minimum) > _order(self.newest):
            raise ValueError("minimum is above newest")
        return self


class Releases(_Part):
    format: Literal["agent-updates-1"] = FORMAT
    levels: dict[Level, Release] = Field(min_length=1, max_length=32)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises ReleasesError."""
        if len(raw) > MAX_BYTES:
            raise ReleasesError(f"more than {MAX_BYTES} bytes")
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors()[0]
            raise ReleasesError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


class UpdateState(StrEnum):
    CURRENT = "current"
    AVAILABLE = "available"
    REQUIRED = "required"


def judge(release: Release, running: str) -> UpdateState:
    """Raises ReleasesError for a running version that is none."""
    here = _order(running)
    if here < _order(release.minimum):
        return UpdateState.REQUIRED
    return UpdateState.AVAILABLE if here < _order(release.newest) else UpdateState.CURRENT


def _order(version: str) -> tuple[int, ...]:
    """Of `1.2.3`; what follows, such as `1.2.3.dev4`, does not count."""
    try:
        return tuple(int(part) for part in version.split(".")[:3])
    except ValueError:
        raise ReleasesError(f"{version!r} is no version") from None
