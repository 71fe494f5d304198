"""`onecard sim ca`: the simulated office that certifies the signing keys of cards, kept in the home folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from onecard_cli.desk import LastTryOption, ReaderOption, TraceOption, ask_pin, desk
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from simulators.certificate_authority import CertificateAuthority

ca_app = typer.Typer(
    help="模拟证书机构 / the simulated office that certifies cards", no_args_is_help=True, add_completion=False
)
NAME: Final = "OneCard 模拟证书机构"
LIST_TTL: Final = timedelta(days=365)
_FOLDER, _SECRET, _ANCHORS, _LISTS = "card-authority", "authority.json", "offices.pem", "revoked.pem"


@dataclass(frozen=True, slots=True)
class Office:
    """The authority and its files."""

    path: Path
    authority: CertificateAuthority

    @classmethod
    def at_home(cls) -> Office:
        """Made at its first use."""
        from onecard_cli.home import Home
        from simulators.certificate_authority import CertificateAuthority

        path = Home.default().path / _FOLDER
        path.mkdir(mode=0o700, exist_ok=True)
        try:
            return cls(path, CertificateAuthority.from_json((path / _SECRET).read_text(encoding="utf-8")))
        except FileNotFoundError:
            office = cls(path, CertificateAuthority.new(NAME, datetime.now(UTC) - timedelta(minutes=5)))
            office.save()
            return office

    def save(self) -> None:
        from hsm.sealed_store import write_atomically
        from simulators.certificate_authority import pem

        now = datetime.now(UTC)
        files = {
            _SECRET: self.authority.to_json(),
            _ANCHORS: pem("CERTIFICATE", self.authority.root()),
            _LISTS: pem("X509 CRL", self.authority.revocations(now, now + LIST_TTL)),
        }
        for name, text in files.items():
            write_atomically(self.path / name, text.encode())

    def settings(self) -> dict[str, str]:
        return {
            "ONECARD_ISSUANCE_LOGIN_CARD_ANCHORS": str(self.path / _ANCHORS),
            "ONECARD_ISSUANCE_LOGIN_CARD_REVOCATIONS": str(self.path / _LISTS),
        }


@ca_app.command("settings")
@reports_failures
def settings() -> None:
    """让发卡中心认可它的设置 / the settings that make a centre accept it.

    \b
    Example: ./onecard sim ca settings
    """
    print_json(Office.at_home().settings())


@ca_app.command("certify")
@reports_failures
def certify(
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    trace: TraceOption = False,
) -> None:
    """在卡上生成签名密钥并写入证书；管理员 PIN 从终端输入 / make the card's signing key and write its certificate.

    The administrator PIN is typed here. The certificate names card number and identification code, not the holder.

    \b
    Example: ./onecard sim ca certify
    """
    from cardlib.identity import mask_card_number
    from cardlib.pki import Pin, PkiSession

    office = Office.at_home()
    with desk(reader, "none", trace=trace) as here:
        card = here.opened()
        number, until = card.card_number, datetime.strptime(card.read_item("expiry_date"), "%Y%m%d").replace(tzinfo=UTC)
        session = PkiSession(here.channel, protocol=here.protocol)
        session.open()
        session.verify(ask_pin("证书管理员 PIN / administrator PIN"), Pin.ADMIN, use_last_try=use_last_try)
        start = datetime.now(UTC) - timedelta(minutes=5)
        made = office.authority.certificate(session.generate(), number, card.identification_code, start, until)
        session.write_certificate(made)
    office.save()
    told = {"card": mask_card_number(number), "days": (until - start).days, "certificate_bytes": len(made)}
    print_json({"ok": True, **told, **office.settings()})


@ca_app.command("revoke")
@reports_failures
def revoke(card: Annotated[str, typer.Argument(metavar="CARD", help="社会保障卡卡号 / card number")]) -> None:
    """吊销这张卡的全部证书 / revoke every certificate of a card; the centre knows at once.

    \b
    Example: ./onecard sim ca revoke A10000023
    """
    from cardlib.failures import FailureCode

    office = Office.at_home()
    issued = office.authority.issued.get(card, [])
    if not issued:
        raise CommandError(FailureCode.NOT_FOUND, "no certificate was issued for this card here")
    for certificate in issued:
        office.authority.revoke(bytes.fromhex(certificate))
    office.save()
    print_json({"ok": True, "revoked": len(office.authority.revoked)})
