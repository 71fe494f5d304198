"""What a gate does with a transit code, without any network: every check of the layout's own list, in its order.

A code passes only when all checks passed; each refusal is an error of its own. The certificate of an issuer is checked
once and then remembered by all its bytes and its root's key, so that a code costs two SM2 verifications.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from cardlib.spec.transit_code import CodeProfile
from cardlib.transit_code import (
    MAJORITY,
    SPEC,
    IssuerCertificate,
    TransitCode,
    TransitCodeError,
    TransitCodeMalformedError,
    issuer_signed_part,
    root_signed_part,
    user_signed_part,
)
from cardlib.transit_code_anchors import TrustAnchor, TrustAnchors
from cardlib.transit_code_uses import MemoryUses, UsedCodes
from hsm.api import BadInputError
from hsm.primitives import Engine, default_engine

KNOWN_CERTIFICATES: Final = 64
_MARKS = tuple((part.slug, part.value) for part in SPEC.certificate if part.value is not None and not part.is_open)
_CERTIFICATE = slice(3, 3 + SPEC.field("certificate").length)


class CertificateFormError(TransitCodeError):
    """The issuer certificate is of a kind this gate does not know."""

    failure: ClassVar[str] = "TRANSIT_CODE_CERTIFICATE"


class CertificateExpiredError(TransitCodeError):
    failure: ClassVar[str] = "TRANSIT_CODE_CERTIFICATE_EXPIRED"


class IssuerMismatchError(TransitCodeError):
    """The authorisation names another issuer than its certificate."""

    failure: ClassVar[str] = "TRANSIT_CODE_ISSUER_MISMATCH"


class RootUnknownError(TransitCodeError):
    failure: ClassVar[str] = "TRANSIT_CODE_ROOT_UNKNOWN"


class RootExpiredError(TransitCodeError):
    failure: ClassVar[str] = "TRANSIT_CODE_ROOT_EXPIRED"


class IssuerForgedError(TransitCodeError):
    """No root signed this certificate."""

    failure: ClassVar[str] = "TRANSIT_CODE_ISSUER_FORGED"


class AuthorisationExpiredError(TransitCodeError):
    failure: ClassVar[str] = "TRANSIT_CODE_AUTHORISATION_EXPIRED"


class AuthorisationForgedError(TransitCodeError):
    """The issuer did not sign this authorisation."""

    failure: ClassVar[str] = "TRANSIT_CODE_AUTHORISATION_FORGED"


class CodeFromFutureError(TransitCodeError):
    failure: ClassVar[str] = "TRANSIT_CODE_FUTURE"


class CodeExpiredError(TransitCodeError):
    failure: ClassVar[str] = "TRANSIT_CODE_EXPIRED"


class UserForgedError(TransitCodeError):
    """The phone the authorisation is for did not make this code."""

    failure: ClassVar[str] = "TRANSIT_CODE_USER_FORGED"


class AccountBlockedError(TransitCodeError):
    failure: ClassVar[str] = "TRANSIT_CODE_ACCOUNT_BLOCKED"


class AmountError(TransitCodeError):
    failure: ClassVar[str] = "TRANSIT_CODE_AMOUNT"


class CodeDuplicateError(TransitCodeError):
    failure: ClassVar[str] = "TRANSIT_CODE_DUPLICATE"


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """What an operator decides. `clock_skew_s`: how far ahead of the gate a phone's clock may be; a slow phone only
    shortens its own codes. A code is never taken for longer than `max_validity_s`, whatever its issuer wrote."""

    clock_skew_s: int = SPEC.skew_s
    max_validity_s: int = 0xFFFF
    blocked_account_types: frozenset[int] = SPEC.blocked_account_types

    def __post_init__(self) -> None:
        if self.clock_skew_s < 0 or self.max_validity_s < 0:
            raise ValueError("times of a policy are not negative")


@dataclass(slots=True)
class Scan:
    """One code in front of the gate: its bytes and what they say, the gate's clock, the fare asked."""

    raw: bytes
    code: TransitCode
    now: int
    amount_fen: int
    issuer_point: bytes | None = None

    @property
    def certificate(self) -> IssuerCertificate:
        return self.code.authorisation.fields.certificate


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the list: raises when the code fails it."""

    name_zh: str
    name_en: str
    run: Callable[[TransitCodeVerifier, Scan], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """How a check ended. `error` is None for a pass; `is_done` False where an earlier failure left nothing to check."""

    name_zh: str
    name_en: str
    error: TransitCodeError | None = None
    is_done: bool = True

    @property
    def mark(self) -> Literal["passed", "failed", "skipped"]:
        if not self.is_done:
            return "skipped"
        return "failed" if self.error else "passed"


@dataclass(slots=True, eq=False)
class TransitCodeVerifier:
    """Safe to use from several threads. `clock` gives Unix seconds; `used` is shared by gates that share codes."""

    anchors: TrustAnchors
    profile: CodeProfile = MAJORITY
    clock: Callable[[], float] = time.time
    policy: GatePolicy = field(default_factory=GatePolicy)
    used: UsedCodes = field(default_factory=MemoryUses)
    engine: Engine = field(default_factory=default_engine)
    _known: OrderedDict[tuple[bytes, bytes], bytes] = field(default_factory=OrderedDict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def verify(self, raw: bytes, amount_fen: int = 0) -> TransitCode:
        """The code, when it may pass for `amount_fen`; then, and only then, it counts as used.

        Raises TransitCodeError: the first refusal in the order of `CHECKS`.
        """
        scan = self._scan(raw, amount_fen)
        for check in CHECKS:
            check.run(self, scan)
        return scan.code

    def findings(self, raw: bytes, amount_fen: int = 0) -> Iterator[Finding]:
        """Every check with its result, the first failure not hiding the others; a code that fails is not used up."""
        try:
            scan = self._scan(raw, amount_fen)
        except TransitCodeError as error:
            yield Finding(*_FORM, error)
            return
        yield Finding(*_FORM)
        failed: set[type[TransitCodeError]] = set()
        for check in CHECKS:
            if check is CHECKS[-1] and failed:
                yield Finding(check.name_zh, check.name_en, is_done=False)
                return
            try:
                check.run(self, scan)
            except TransitCodeError as error:
                # The same refusal again is what the check needed, not what it found.
                is_new = type(error) not in failed
                failed.add(type(error))
                yield Finding(check.name_zh, check.name_en, error if is_new else None, is_done=is_new)
            else:
                yield Finding(check.name_zh, check.name_en)

    def verify_certificate(self, raw: bytes) -> IssuerCertificate:
        """An issuer certificate outside a code, checked as the one inside. Raises TransitCodeError."""
        certificate, now = IssuerCertificate.parse(raw), int(self.clock())
        _demand_form(certificate)
        _demand_term(certificate, now)
        self._issuer_point(certificate, self._living_root(certificate, now).public_key, raw)
        return certificate

    def _scan(self, raw: bytes, amount_fen: int) -> Scan:
        if amount_fen < 0:
            raise ValueError("an amount is not negative")
        return Scan(raw, TransitCode.parse(raw, self.profile), int(self.clock()), amount_fen)

    # -- the checks, in the order of CHECKS --------------------------------------------------------------------------

    def check_form(self, scan: Scan) -> None:
        _demand_form(scan.certificate)

    def check_certificate_term(self, scan: Scan) -> None:
        _demand_term(scan.certificate, scan.now)

    def check_issuer(self, scan: Scan) -> None:
        named = scan.code.authorisation.fields.issuer
        if named != scan.certificate.issuer:
            raise IssuerMismatchError(f"{named}, certificate of {scan.certificate.issuer}")

    def check_root(self, scan: Scan) -> None:
        self._living_root(scan.certificate, scan.now)

    def check_root_signature(self, scan: Scan) -> None:
        raw, root = scan.raw[_CERTIFICATE], self._root(scan.certificate).public_key
        with self._lock:
            if (root, raw) in self._known:
                self._known.move_to_end((root, raw))
                scan.issuer_point = self._known[root, raw]
                return
        scan.issuer_point = self._issuer_point(scan.certificate, root, raw)
        with self._lock:
            self._known[root, raw] = scan.issuer_point
            if len(self._known) > KNOWN_CERTIFICATES:
                self._known.popitem(last=False)

    def check_authorisation_term(self, scan: Scan) -> None:
        until = scan.code.authorisation.fields.authorised_until
        if scan.now > until:
            raise AuthorisationExpiredError(f"{scan.now - until} s ago")

    def check_issuer_signature(self, scan: Scan) -> None:
        signed = issuer_signed_part(scan.raw, self.profile)
        issuer = scan.issuer_point or self._point(scan.certificate.public_key)
        if not self._is_signed(issuer, signed, scan.code.authorisation.signature):
            raise AuthorisationForgedError

    def check_time(self, scan: Scan) -> None:
        ahead = scan.code.generated_at - scan.now
        if ahead > self.policy.clock_skew_s:
            raise CodeFromFutureError(f"{ahead} s ahead of this gate's clock")
        over = scan.now - self._valid_until(scan)
        if over > 0:
            raise CodeExpiredError(f"{over} s ago")

    def check_user_signature(self, scan: Scan) -> None:
        user = self._point(scan.code.authorisation.fields.user_key)
        if not self._is_signed(user, user_signed_part(scan.raw), scan.code.user_signature):
            raise UserForgedError

    def check_account(self, scan: Scan) -> None:
        account_type = scan.code.authorisation.fields.account_type
        if account_type in self.policy.blocked_account_types:
            raise AccountBlockedError(f"account type {account_type:02X}")

    def check_amount(self, scan: Scan) -> None:
        limit = scan.code.authorisation.fields.amount_limit_fen
        if scan.amount_fen > limit:
            raise AmountError(f"{scan.amount_fen} fen, at most {limit}")

    def check_unused(self, scan: Scan) -> None:
        # Last, so that a code refused for its fare is not spent; over what was signed, so that signing the same
        # content again does not make another code.
        name = self.engine.sm3(user_signed_part(scan.raw))
        if not self.used.claim(name, self._valid_until(scan), scan.now):
            raise CodeDuplicateError

    # ------------------------------------------------------------------------------------------------------------------

    def _root(self, certificate: IssuerCertificate) -> TrustAnchor:
        root = self.anchors.find(certificate.root_index)
        if root is None:
            raise RootUnknownError(f"index {certificate.root_index}")
        return root

    def _living_root(self, certificate: IssuerCertificate, now: int) -> TrustAnchor:
        root = self._root(certificate)
        if now >= root.ends_at:
            raise RootExpiredError(f"index {certificate.root_index}")
        return root

    def _issuer_point(self, certificate: IssuerCertificate, root: bytes, raw: bytes) -> bytes:
        """The issuer's key, once `root` is found to have signed the certificate that `raw` is."""
        point = self._point(certificate.public_key)
        if not self._is_signed(root, root_signed_part(raw), certificate.signature):
            raise IssuerForgedError(f"root {certificate.root_index}")
        return point

    def _valid_until(self, scan: Scan) -> int:
        validity_s = scan.code.authorisation.fields.validity_s
        return scan.code.generated_at + min(validity_s, self.policy.max_validity_s)

    def _point(self, compressed: bytes) -> bytes:
        try:
            return self.engine.sm2_decompress(compressed)
        except BadInputError as error:
            raise TransitCodeMalformedError("a public key is no point of the curve") from error

    def _is_signed(self, public: bytes, content: bytes, signature: bytes) -> bool:
        return self.engine.sm2_verify(public, content, signature, user_id=SPEC.user_id)


def _demand_form(certificate: IssuerCertificate) -> None:
    for slug, mark in _MARKS:
        found = getattr(certificate, slug)
        if found != mark:
            raise CertificateFormError(f"{slug}: {found.hex()}")


def _demand_term(certificate: IssuerCertificate, now: int) -> None:
    if now >= certificate.ends_at:
        raise CertificateExpiredError(f"MMYY {certificate.expires}")


_FORM: Final = ("版本与格式", "version and form")
CHECKS: Final = (
    Check("证书格式与算法", "certificate: format and algorithms", TransitCodeVerifier.check_form),
    Check("证书未过期", "certificate: not expired", TransitCodeVerifier.check_certificate_term),
    Check("发卡机构号与证书一致", "issuer agrees with the certificate", TransitCodeVerifier.check_issuer),
    Check("根公钥可信且未到期", "root known and not expired", TransitCodeVerifier.check_root),
    Check("根对证书签名", "root's signature of the certificate", TransitCodeVerifier.check_root_signature),
    Check("授权未过期", "authorisation: not expired", TransitCodeVerifier.check_authorisation_term),
    Check("发卡机构签名", "issuer's signature of the authorisation", TransitCodeVerifier.check_issuer_signature),
    Check("生成时间", "made neither in the future nor too long ago", TransitCodeVerifier.check_time),
    Check("用户签名", "user's signature", TransitCodeVerifier.check_user_signature),
    Check("账户类型", "account type", TransitCodeVerifier.check_account),
    Check("金额上限", "amount limit", TransitCodeVerifier.check_amount),
    Check("未使用过", "not used before", TransitCodeVerifier.check_unused),
)
