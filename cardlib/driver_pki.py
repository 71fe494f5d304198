"""The certificate functions of the driver interface, on PKI.社会保障 of a 3.0 card (terminal.md §11).

LD/T 6001.5-2023 §7 names PKI_SignData, PKI_VerifySign and a pair for 数字信封 whose names no source at hand shows. What
the sources leave open is decided here:

* names of the pair: PKI_SealEnvelope, PKI_OpenEnvelope, parameters in the manner of the other two;
* text is signed and sealed as GB18030, the bytes a C program passes (`TEXT_ENCODING`);
* signatures, certificates and envelopes are base64: DER SEQUENCE { r, s } (GM/T 0009), DER, `pki_envelope.Envelope`.
  A raw r || s is verified too;
* the user PIN of the certificates comes from `PinEntry`, never from pUserPin;
* a card without the application answers -13, a wrong signature -15, a certificate out of term or of another kind -23.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar, Final

from apdu.errors import NotFoundError
from cardlib.driver_address import MAX_TEXT, AddressError
from cardlib.driver_session import ApplicationMissingError, DriverSession, answers
from cardlib.errors import CardDataError, LastTryError
from cardlib.guard import TRIES_KEPT
from cardlib.pki import PkiSession
from cardlib.pki_certificate import Certificate, CertificateError
from cardlib.pki_envelope import Envelope
from hsm.api import BadInputError
from hsm.primitives import DEFAULT_USER_ID, Engine, default_engine, signature_from_der, signature_to_der

TEXT_ENCODING: Final = "gb18030"
_RAW_SIGNATURE = 64


class SignatureInvalidError(Exception):
    """The signature is not one of this text under this certificate. Driver code -15."""

    failure: ClassVar[str] = "SIGNATURE_INVALID"


class DriverPki:
    """The functions on the card of `session`. `user_id` is the signer id of SM2 in verifying."""

    def __init__(
        self,
        session: DriverSession,
        *,
        user_id: bytes = DEFAULT_USER_ID,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        engine: Engine | None = None,
    ) -> None:
        self._session = session
        self._user_id = user_id
        self._clock = clock
        self._engine = engine or default_engine()

    @answers
    def sign_data(self, text: str) -> str:
        """PKI_SignData: the card's signature over `text`; the holder types the PIN for each."""
        data = _encoded(text)
        card = self._opened()
        self._verify_pin(card)
        return _base64(signature_to_der(card.sign(data)))

    @answers
    def verify_sign(self, certificate: str, text: str, signature: str) -> str:
        """PKI_VerifySign: an empty text for a right signature. Nothing is sent to the card, no PIN is asked for."""
        signer = self._certificate(certificate)
        raw = _bytes(signature)
        try:
            raw = raw if len(raw) == _RAW_SIGNATURE else signature_from_der(raw)
        except BadInputError:
            raise SignatureInvalidError("not an SM2 signature") from None
        if not self._engine.sm2_verify(signer.public, _encoded(text), raw, user_id=self._user_id):
            raise SignatureInvalidError("the signature does not fit text and certificate")
        return ""

    @answers
    def seal_envelope(self, certificate: str, text: str) -> str:
        """PKI_SealEnvelope: `text` for the holder of an encryption certificate; no card takes part."""
        receiver = self._certificate(certificate)
        sealed = _base64(Envelope.seal(self._engine, receiver.public, _encoded(text)).to_bytes())
        if len(sealed) > MAX_TEXT:
            raise AddressError("the text is too long for an envelope")
        return sealed

    @answers
    def open_envelope(self, envelope: str) -> str:
        """PKI_OpenEnvelope: the text, under the card's encryption key; the holder types the PIN for each."""
        raw = _bytes(envelope)
        try:
            Envelope.from_bytes(raw)  # a malformed one is no reason to ask the holder
            card = self._opened()
            self._verify_pin(card)
            return card.open_envelope(raw).decode(TEXT_ENCODING)
        except (CardDataError, UnicodeDecodeError):
            raise AddressError("not an envelope, altered, or without text") from None

    def prove(self, message: bytes) -> tuple[bytes, bytes]:
        """The card's signing certificate in DER and r || s over `message`; the holder types the PIN for it.

        Raises what card and entry do, ApplicationMissingError, and CertificateError where none was written.
        """
        card = self._opened()
        certificate = card.read_certificate()
        if not certificate:
            raise CertificateError("the card has no certificate")
        self._verify_pin(card)
        return certificate, card.sign(message)

    def _opened(self) -> PkiSession:
        card = PkiSession(self._session.channel, protocol=self._session.protocol, engine=self._engine)
        self._select(card)
        return card

    def _select(self, card: PkiSession) -> None:
        self._session.leave()
        try:
            card.open()
        except NotFoundError:
            raise ApplicationMissingError("this card has no certificate application") from None

    def _verify_pin(self, card: PkiSession) -> None:
        left = card.tries()
        if left <= TRIES_KEPT:
            raise LastTryError(left)
        with self._session.terminal.enter_pin(is_new=False) as pin:
            # A dialog shows the card's number and selects the social security part for it.
            self._select(card)
            card.verify(pin.digits)

    def _certificate(self, text: str) -> Certificate:
        certificate = Certificate.from_der(_bytes(text))
        certificate.check_term(self._clock())
        return certificate


def _encoded(text: str) -> bytes:
    """Raises AddressError for no text, and for half a surrogate pair."""
    if not text:
        raise AddressError("a text was expected")
    try:
        return text.encode(TEXT_ENCODING)
    except UnicodeEncodeError:
        raise AddressError("the text has characters outside GB18030") from None


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _bytes(text: str) -> bytes:
    """Base64, line breaks allowed. Raises AddressError."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise AddressError("base64 was expected") from None
