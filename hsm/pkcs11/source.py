"""One PKCS#11 token as a source of sessions for the pool."""

from __future__ import annotations

import hmac
import threading
import weakref
from typing import ClassVar

from hsm.api import Algorithm, BadInputError, KeyExistsError, KeyStoreLockedError
from hsm.device import DeviceError, DeviceLostError, SessionSource
from hsm.pkcs11.binding import Library, shared_library
from hsm.pkcs11.constants import CKA, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED, CKK, CKM, CKO
from hsm.pkcs11.cryptoki import RawSession, find_slot, token_info
from hsm.pkcs11.objects import find_wrapping_key
from hsm.pkcs11.profile import Profile
from hsm.pkcs11.self_test import proven
from hsm.pkcs11.session import Pkcs11Session
from hsm.primitives import Engine, default_engine

_WRAPPING_LENGTH = 32


class WrappingKeyMissingError(DeviceError):
    """The token does not hold the wrapping key of its profile; nothing is made up in its place."""

    failure: ClassVar[str] = "KEY_NOT_FOUND"


class Pkcs11Source(SessionSource):
    """Sessions of the token a profile describes.

    Nothing is touched before the first session; the algorithms are proven then, and again when the token could not be
    reached meanwhile or the library was initialized anew: what comes back may be another device.
    A PIN the token refused is not sent again by this process, and no automatic login spends the last try.
    """

    def __init__(self, profile: Profile, *, engine: Engine | None = None) -> None:
        self._profile = profile
        self._engine = engine or default_engine()
        self._lock = threading.RLock()
        self._library: Library | None = None
        self._proven: frozenset[Algorithm] | None = None
        self._proven_in = 0
        self._sessions: weakref.WeakSet[Pkcs11Session] = weakref.WeakSet()
        self._is_open = True

    @property
    def name(self) -> str:
        return self._profile.name

    @property
    def max_sessions(self) -> int:
        """Left to the pool: PKCS#11 libraries queue by themselves, and say so when a token has few."""
        return 1 << 16

    @property
    def algorithms(self) -> frozenset[Algorithm]:
        """Empty as long as the token cannot be reached; otherwise raises as `open_session`."""
        if self._proven is None:
            try:
                self.open_session().close()
            except DeviceLostError:
                return frozenset()
        return self._proven or frozenset()

    def open_session(self) -> Pkcs11Session:
        """Raises DeviceLostError, KeyStoreLockedError for the PIN, WrappingKeyMissingError, DeviceError."""
        raw = self._open_raw()
        try:
            wrapping = find_wrapping_key(raw, self._profile.wrapping_label)
            if wrapping is None:
                raise WrappingKeyMissingError(f"{self.name} holds no wrapping key {self._profile.wrapping_label!r}")
            session = Pkcs11Session(raw, self._profile, self._engine, wrapping, self._tell_all)
            self._prove(session)
        except BaseException as error:
            raw.close()
            self._note(error)
            raise
        with self._lock:
            self._sessions.add(session)
        return session

    def ensure_wrapping_key(self, value: bytes | None = None) -> bool:
        """Make the wrapping key where the token has none; whether it did. Asked for by a person, never by a request.

        With `value` (32 bytes, from the custodians' components) a second token can be given the same one. Without,
        the token makes it, and only the maker's own cloning carries it elsewhere. Raises KeyExistsError for a value
        when there is a key already: nobody could tell whether it is the same.
        """
        if value is not None and len(value) != _WRAPPING_LENGTH:
            raise BadInputError(f"wrapping key must be {_WRAPPING_LENGTH} bytes")
        raw = self._open_raw()
        try:
            with self._lock:
                if find_wrapping_key(raw, self._profile.wrapping_label) is None:
                    _make_wrapping_key(raw, self._profile.wrapping_label, value)
                    return True
            if value is not None:
                raise KeyExistsError(f"{self.name} holds a wrapping key {self._profile.wrapping_label!r}")
            return False
        finally:
            raw.close()

    def close(self) -> None:
        """Open no more sessions; the library is let go of with the last one that is still in use. Never raises."""
        with self._lock:
            self._is_open = False
            if self._library is not None:
                self._library.release()
            self._library = None

    def _open_raw(self) -> RawSession:
        """A logged-in session; looks for the token afresh once where the library allows that."""
        library = self._acquired()
        try:
            return self._try_open(library)
        except DeviceLostError as error:
            self._note(error)
            if not library.restart_if_idle():
                raise
        return self._try_open(library)

    def _try_open(self, library: Library) -> RawSession:
        library.enter()
        try:
            library.ensure_initialized()
            slot = find_slot(library, self._profile.token_label, self._profile.token_serial)
            return self._logged_in(library, slot)
        finally:
            library.leave()

    def _logged_in(self, library: Library, slot: int) -> RawSession:
        raw = RawSession(library, slot)
        try:
            with library.login_lock(slot):
                if not raw.is_logged_in():
                    self._login(library, raw, *token_info(library, slot))
        except BaseException:
            raw.close()
            raise
        return raw

    def _login(self, library: Library, raw: RawSession, serial: bytes, flags: int) -> None:
        if flags & (CKF_USER_PIN_LOCKED | CKF_USER_PIN_FINAL_TRY):
            raise KeyStoreLockedError(f"{self.name}: the PIN is locked or has one try left; a person must log in")
        pin = self._profile.pin.read()
        digest = hmac.digest(library.digest_key, serial + pin, "sha256")
        if digest in library.refused:
            raise KeyStoreLockedError(f"{self.name} refused this PIN before; it is not sent again")
        try:
            raw.login(pin)
        except KeyStoreLockedError:
            library.refused.add(digest)
            raise

    def _acquired(self) -> Library:
        with self._lock:
            if not self._is_open:
                raise DeviceLostError(f"{self.name} is closed")
            if self._library is None:
                library = shared_library(self._profile.library)
                library.acquire()
                self._library = library
            return self._library

    def _prove(self, session: Pkcs11Session) -> None:
        generation = self._acquired().generation
        with self._lock:
            if self._proven is None or self._proven_in != generation:
                self._proven_in = generation
                self._proven = proven(session, self._engine, self._profile.algorithms, self.name)

    def _note(self, error: BaseException) -> None:
        if isinstance(error, DeviceLostError):
            with self._lock:
                self._proven = None

    def _tell_all(self, handle: bytes) -> None:
        with self._lock:
            for session in self._sessions:
                session.forget_later(handle)


def _make_wrapping_key(raw: RawSession, label: str, value: bytes | None) -> None:
    """Wraps and unwraps, nothing else: a key that also decrypts would give the wrapped keys away."""
    attributes: dict[int, bool | int | bytes] = {
        CKA.TOKEN: True,
        CKA.PRIVATE: True,
        CKA.SENSITIVE: True,
        CKA.EXTRACTABLE: False,
        CKA.LABEL: label.encode("utf-8"),
        CKA.WRAP: True,
        CKA.UNWRAP: True,
        CKA.ENCRYPT: False,
        CKA.DECRYPT: False,
    }
    if value is None:
        raw.generate(CKM.AES_KEY_GEN, {**attributes, CKA.VALUE_LEN: _WRAPPING_LENGTH})
    else:
        raw.create({**attributes, CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: value})
