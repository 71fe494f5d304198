"""The applications a card image carries, as objects that live while the chip has power."""

from __future__ import annotations

from simulators.apps.bank import BankApplication, ContactDirectory, ProximityDirectory
from simulators.apps.neighbour import Neighbour
from simulators.apps.pki import CertificateApplication, CertificateEnvironment
from simulators.apps.state import NeighbourState
from simulators.apps.transit import AID as TRANSIT_AID
from simulators.apps.transit import LABEL as TRANSIT_LABEL
from simulators.apps.transit import TransitPurse


def neighbours(state: NeighbourState) -> list[Neighbour]:
    """In the order SELECT by partial name finds them, behind the files of the SSSE."""
    found: list[Neighbour] = []
    payment: list[tuple[bytes, bytes]] = []
    if state.pki is not None:
        found += [CertificateEnvironment(), CertificateApplication(state.pki)]
    if state.transit is not None:
        found.append(TransitPurse(state.transit))
        payment.append((TRANSIT_AID, TRANSIT_LABEL))
    if state.bank is not None:
        bank = BankApplication(state.bank)
        found += [bank, ContactDirectory()]
        payment.append((bank.name, bank.label))
    if payment:
        found.append(ProximityDirectory(payment))
    return found
