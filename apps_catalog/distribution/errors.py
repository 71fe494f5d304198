"""Named alarms of the distribution; whichever is raised, what was in force before stays in force."""

from __future__ import annotations

import errno
from enum import StrEnum
from http import HTTPStatus
from typing import ClassVar

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    StorageError,
    UnsignedMetadataError,
)


class DistributionError(Exception):
    """`failure` names a member of `cardlib.failures.FailureCode`."""

    failure: ClassVar[str] = "INTERNAL"


class UnreachableError(DistributionError):
    """No server, no answer in time, or a file it does not have."""

    failure = "SERVICE_UNREACHABLE"


class NotAdmittedError(DistributionError):
    """The server gives a file to registered clients only."""

    failure = "CLIENT_UNKNOWN"


class SignatureError(DistributionError):
    """Too few valid signatures, or a role that speaks outside its paths."""

    failure = "CATALOG_SIGNATURE"


class RolledBackError(DistributionError):
    """The server offers something older than what was accepted here before."""

    failure = "CATALOG_ROLLED_BACK"


class FrozenError(DistributionError):
    """What the server offers has expired: it is held back, or nobody signs any more."""

    failure = "CATALOG_FROZEN"


class RootExpiredError(DistributionError):
    failure = "CATALOG_ROOT_EXPIRED"


class DamagedError(DistributionError):
    """Length or hash is not the signed one, files are not of one state, or something is not readable."""

    failure = "CATALOG_DAMAGED"


class DiskError(DistributionError):
    """The disk is full or does not take the files."""

    failure = "CATALOG_DISK"


class StaleError(DistributionError):
    """What is in force here was not confirmed for longer than its signatures count."""

    failure = "CATALOG_STALE"


class NothingHeldError(DistributionError):
    failure = "NOT_FOUND"


class PublishError(DistributionError):
    """A step of the publishing side that keys, paths or state do not allow; nothing was written."""

    failure = "CONFLICT"


class Refusal(StrEnum):
    """Why something handed over is not taken."""

    DAMAGED = "damaged"
    OTHER_REPOSITORY = "other repository"
    NOT_YOUR_ROLE = "not your role"
    OLDER = "older version"
    OUTSIDE_PREFIX = "outside your prefix"
    MISSING_SIGNATURE = "missing signature"
    MORE_THAN_KEYS = "more than keys changes"
    TERM = "wrong term"
    FILES = "files do not match"


class HandoverError(PublishError):
    """A key or a parcel from another machine that is refused."""

    failure = "HANDOVER_REFUSED"

    def __init__(self, reason: Refusal, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def alarm_of(error: Exception) -> DistributionError:
    """The named alarm for what python-tuf or the system raised."""
    text = str(error)
    match error:
        case DistributionError():
            return error
        case UnsignedMetadataError():
            return SignatureError(text)
        case BadVersionNumberError():
            return RolledBackError(text)
        case ExpiredMetadataError():
            return RootExpiredError(text) if "root.json" in text else FrozenError(text)
        case LengthOrHashMismatchError() | DownloadLengthMismatchError():
            return DamagedError(text)
        case DownloadHTTPError(status_code=HTTPStatus.UNAUTHORIZED):
            return NotAdmittedError(text)
        case DownloadError():
            return UnreachableError(text)
        case RepositoryError() | StorageError():
            return DamagedError(text)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return DiskError("no space left")
        case OSError():
            return DiskError(error.strerror or "")
    raise error
