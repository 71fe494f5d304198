"""The transit root of an installation: which roots it has, which issuer certificates they signed.

Keys are pairs of the key store: `TRANSIT_ROOT`, whose version is the root's index, and `TRANSIT_ISSUER`. What the keys
do not say lies in `transit-ca.json` of the home folder, to which entries are only added.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from cardlib.failures import FailureCode
from cardlib.transit_code import CHINA, IssuerCertificate, TransitCodeError
from cardlib.transit_code_anchors import TrustAnchor, TrustAnchors
from cardlib.transit_code_issuer import ISSUER_KEY, issue_certificate
from hsm.api import Algorithm, KeyNotFoundError, KeyRef, KeyState, Purpose
from hsm.primitives import decompress
from hsm.sealed_store import write_atomically
from onecard_cli.key_office import KeyOffice, key_ref
from onecard_cli.output import CommandError

if TYPE_CHECKING:
    from issuance.settings import Settings
    from onecard_cli.home import Home

FORMAT: Final = "transit-ca-1"
ROOT: Final = "TRANSIT_ROOT"
_SERIALS: Final = 1 << 24


class TransitBookError(Exception):
    """The file is not the book it was; nothing is added to it."""

    failure: ClassVar[str] = "KEY_STORE_CORRUPT"


@dataclass(frozen=True, slots=True)
class Root:
    """`not_after`: last day, in China, on which gates take it."""

    index: int
    name: str
    not_after: date

    @property
    def key(self) -> KeyRef:
        return KeyRef(ROOT, Algorithm.SM2, self.index)


@dataclass(frozen=True, slots=True)
class Issued:
    """`key` is empty where another issuer has the private key; `issued_at` in Unix seconds."""

    certificate: IssuerCertificate
    key: str
    issued_at: int


@dataclass(frozen=True, slots=True)
class TransitBook:
    roots: tuple[Root, ...] = ()
    issued: tuple[Issued, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Empty where there is none. Raises TransitBookError."""
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        except ValueError:
            raise TransitBookError(f"{path.name} is not JSON") from None
        try:
            if table["format"] != FORMAT:
                raise TransitBookError(f"{path.name} is not {FORMAT}")
            roots = tuple(Root(r["index"], r["name"], date.fromisoformat(r["not_after"])) for r in table["roots"])
            issued = tuple(
                Issued(IssuerCertificate.parse(bytes.fromhex(c["certificate"])), c["key"], c["issued_at"])
                for c in table["certificates"]
            )
        except (KeyError, TypeError, ValueError, TransitCodeError) as error:
            raise TransitBookError(f"{path.name}: {error}") from None
        return cls(roots, issued)

    def encode(self) -> bytes:
        roots = [{"index": r.index, "name": r.name, "not_after": r.not_after.isoformat()} for r in self.roots]
        issued = [
            {"certificate": c.certificate.encode().hex().upper(), "key": c.key, "issued_at": c.issued_at}
            for c in self.issued
        ]
        table: dict[str, Any] = {"format": FORMAT, "roots": roots, "certificates": issued}
        return json.dumps(table, ensure_ascii=False, indent=2).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class TransitCa:
    """Acts need the officers of the key store, where it has some, and stand in its log. `now` in Unix seconds."""

    office: KeyOffice
    now: int

    @property
    def book(self) -> TransitBook:
        return TransitBook.load(self.office.home.transit_book)

    def init(self, index: int, name: str, not_after: date, officers: tuple[str, ...] = ()) -> Root:
        """A root of a new index; a pair of that version which the store has but no root uses is taken.

        Raises CommandError CONFLICT.
        """
        root = Root(index, name, not_after)
        with self._adding() as book:
            if any(other.index == index for other in book.roots):
                raise CommandError(FailureCode.CONFLICT, f"there is a root {index}; a new one takes a new index")
            with self.office.act("transit root", root.key, approved_by=officers) as record:
                self._ensure_pair(root.key)
                self._demand_later(self.anchor(root).ends_at, "the root")
                record.kcv = self._kcv(root.key)
                record.detail = f"until {not_after.isoformat()}"
                self._write(TransitBook((*book.roots, root), book.issued))
        return root

    def issue(
        self,
        root: Root,
        issuer: str,
        expires: str,
        *,
        key: KeyRef | None,
        public_key: bytes = b"",
        serial: int | None = None,
        officers: tuple[str, ...] = (),
    ) -> Issued:
        """A certificate for `key`, made where the store lacks it, or for another issuer's `public_key` (04 || X || Y).

        Raises CommandError CONFLICT for a serial number given before, INPUT_INVALID for a term that is over or longer
        than the root's; TransitCodeValueError.
        """
        with self._adding() as book, self.office.act("transit certificate", root.key, approved_by=officers) as record:
            number = _serial(book, root, serial)
            if key is not None:
                self._ensure_pair(key)
                public_key = self.office.service.public_key(key)
            certificate = issue_certificate(
                self.office.service,
                root.key,
                root_index=root.index,
                issuer=issuer,
                expires=expires,
                serial=number.to_bytes(3, "big"),
                public_key=public_key,
            )
            self._demand_later(certificate.ends_at, "the certificate")
            if certificate.ends_at > self.anchor(root).ends_at:
                raise CommandError(FailureCode.INPUT_INVALID, f"the root ends before, on {root.not_after.isoformat()}")
            issued = Issued(certificate, "" if key is None else str(key), self.now)
            record.kcv = self._kcv(root.key)
            record.detail = f"issuer {issuer} serial {number:06X} until {expires} key {issued.key or 'elsewhere'}"
            self._write(TransitBook(book.roots, (*book.issued, issued)))
        return issued

    def root(self, index: int | None) -> Root:
        """The one of that index, else the newest. Raises CommandError NOT_FOUND."""
        found = [root for root in self.book.roots if index in (None, root.index)]
        if not found:
            raise CommandError(FailureCode.NOT_FOUND, "no such root: onecard ecard ca init makes one")
        return found[-1]

    def anchor(self, root: Root) -> TrustAnchor:
        """Raises TransitAnchorsError."""
        return TrustAnchor(root.index, root.name, self.office.service.public_key(root.key), root.not_after)

    def anchors(self) -> TrustAnchors:
        """Every root that still counts: not past its last day, its key not destroyed. Raises CommandError NOT_FOUND."""
        alive = [anchor for _, anchor, _ in self.held() if self.now < anchor.ends_at]
        if not alive:
            raise CommandError(FailureCode.NOT_FOUND, "there is no root: onecard ecard ca init makes one")
        return TrustAnchors(alive)

    def held(self) -> list[tuple[Root, TrustAnchor, KeyState]]:
        """The roots whose keys the store has; destroying a root's key takes it out of every later list."""
        keys = self.office.service.keys()
        states = {info.ref: info.state for info in keys}
        return [(root, self.anchor(root), states[root.key]) for root in self.book.roots if root.key in states]

    def issuer_key(self, *, is_new: bool = False) -> KeyRef:
        """The newest active issuer pair of the store, or the name of the next."""
        held = self.office.service.keys()
        infos = [info for info in held if _is_issuer(info.ref)]
        active = [i.ref.version for i in infos if i.state is KeyState.ACTIVE]
        if active and not is_new:
            return KeyRef(ISSUER_KEY, Algorithm.SM2, max(active))
        # A key that was destroyed is still named in the book: a version never means two keys.
        known = {str(i.ref) for i in infos} | {issued.key for issued in self.book.issued if issued.key}
        return KeyRef(ISSUER_KEY, Algorithm.SM2, 1 + max((key_ref(key).version for key in known), default=0))

    @contextmanager
    def _adding(self) -> Iterator[TransitBook]:
        """The book, which nobody else adds to meanwhile."""
        with self.office.home.transit_book.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.book

    def _write(self, book: TransitBook) -> None:
        write_atomically(self.office.home.transit_book, book.encode())

    def _ensure_pair(self, key: KeyRef) -> None:
        try:
            info = self.office.service.info(key)
        except KeyNotFoundError:
            self.office.service.generate_pair(key)
            return
        if info.purpose is not Purpose.SIGN:
            raise CommandError(FailureCode.KEY_PURPOSE, f"{key} is not for signing")

    def _kcv(self, key: KeyRef) -> str:
        return self.office.service.info(key).kcv.hex().upper()

    def _demand_later(self, ends_at: int, what: str) -> None:
        if self.now >= ends_at:
            raise CommandError(FailureCode.INPUT_INVALID, f"{what} would have ended already")


def with_transit(home: Home, settings: Settings) -> Settings:
    """The certificate that `ecard ca issue --use` puts into the home, unless another file is set."""
    path = settings.transit_certificate_path or home.transit_certificate
    return settings.model_copy(update={"transit_certificate_path": path})


def ensure_demo_issuer(office: KeyOffice, now: int) -> None:
    """For an installation that only shows what there is: root, issuer certificate and list of roots, at first start.

    A store with officers, or with roots of its own, is left alone.
    """
    home = office.home
    if home.transit_certificate.exists() or office.officers.exist:
        return
    ca = TransitCa(office, now)
    if ca.book.issued:
        return
    year = datetime.fromtimestamp(now, CHINA).year
    root = ca.book.roots[-1] if ca.book.roots else ca.init(1, "演示交通根 / demo transit root", date(year + 10, 12, 31))
    issued = ca.issue(root, "99010001", f"12{(year + 5) % 100:02d}", key=ca.issuer_key())
    write_atomically(home.transit_certificate, issued.certificate.encode())
    write_atomically(home.transit_roots, ca.anchors().encode())


def public_key_of(content: bytes) -> bytes:
    """Another issuer's point, compressed or not, as 04 || X || Y. Raises BadInputError."""
    return content if content[:1] == b"\x04" else decompress(content)


def _is_issuer(ref: KeyRef) -> bool:
    return ref.name == ISSUER_KEY and ref.algorithm is Algorithm.SM2 and not ref.region


def _serial(book: TransitBook, root: Root, wanted: int | None) -> int:
    given = {int.from_bytes(c.certificate.serial, "big") for c in book.issued if c.certificate.root_index == root.index}
    number = max(given, default=0) + 1 if wanted is None else wanted
    if number in given:
        raise CommandError(FailureCode.CONFLICT, f"the root has given the serial number {number:06X} before")
    if not 0 < number < _SERIALS:
        raise CommandError(FailureCode.INPUT_INVALID, f"serial number {number}: three bytes, from 1")
    return number
