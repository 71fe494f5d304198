"""What the machine offers: which flows it can ever do, and which of them now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cardlib.failures import FailureCode
from terminal_agent.devices import DeviceKind, DeviceState
from terminal_agent.kiosk.flows import Flow
from terminal_agent.kiosk.screens import Need, Tile

if TYPE_CHECKING:
    from terminal_agent.kiosk.desk import KioskDesk

NOT_CHOSEN: Final = "settings"
NOT_NOW: Final = "not_now"
_KINDS: Final = {
    Need.ID_READER: DeviceKind.ID_CARD_MODULE,
    Need.CAMERA: DeviceKind.CAMERA,
    Need.SCANNER: DeviceKind.QR_SCANNER,
}


@dataclass(frozen=True, slots=True)
class HomeTile:
    """`missing` says why it cannot be chosen now, None where it can."""

    name: str
    tile: Tile
    missing: FailureCode | None = None


class Offers:
    def __init__(self, desk: KioskDesk) -> None:
        self._desk = desk

    def tiles(self) -> list[HomeTile]:
        """In the order of the home page, those that the machine can never do left out."""
        found = []
        for flow in self._desk.flows.values():
            if flow.tile is not None and not self._why_out(flow):
                missing = next((code for need in sorted(flow.tile.needs) if (code := self.missing(need))), None)
                found.append(HomeTile(flow.name, flow.tile, missing))
        return found

    def is_open(self, name: str) -> bool:
        """Whether this flow of the home page can be begun now."""
        return any(tile.name == name and tile.missing is None for tile in self.tiles())

    def left_out(self) -> dict[str, str]:
        """Flows that are not on the home page, and why: a `Need`, `settings` or `not_now`."""
        return {flow.name: why for flow in self._desk.flows.values() if flow.tile and (why := self._why_out(flow))}

    def has(self, need: Need) -> bool:
        """By the settings."""
        settings = self._desk.settings
        configured = {
            Need.CENTRE: self._desk.centre.is_configured,
            Need.ID_READER: settings.id_card_module is not None,
            Need.CARD_SLOT: True,
            Need.CARD_MACHINE: settings.card_printer is not None and bool(settings.encoder_reader),
            Need.CAMERA: settings.camera is not None,
            Need.CATALOG: settings.catalog_url is not None,
            Need.PIN_ENTRY: settings.pin_pad is not None or settings.pin_dialog,
            Need.SCANNER: settings.scanner is not None,
        }
        return configured[need]

    def missing(self, need: Need) -> FailureCode | None:
        """What is wrong with it now, None for nothing."""
        desk = self._desk
        if need is Need.CENTRE:
            return None if desk.centre.is_reachable else FailureCode.SERVICE_UNREACHABLE
        if need is Need.CARD_SLOT:
            psam = desk.agent.registry.psam_reader()
            if desk.slot() is None:
                return FailureCode.READER_NOT_FOUND
            return None if psam is not None and psam.has_card else FailureCode.PSAM_ABSENT
        if need is Need.CARD_MACHINE:
            return desk.maker.trouble()
        if need is Need.CATALOG:
            return FailureCode.CATALOG_STALE if desk.agent.catalog.contents.catalog is None else None
        return self._lost(_KINDS[need]) if need in _KINDS else None

    def _why_out(self, flow: Flow) -> str:
        wanted = self._desk.settings.kiosk_flows
        if wanted and flow.name not in wanted:
            return NOT_CHOSEN
        needs = flow.tile.needs if flow.tile else frozenset()
        missing = next((need.value for need in sorted(needs) if not self.has(need)), "")
        return missing or ("" if flow.is_offered(self._desk) else NOT_NOW)

    def _lost(self, kind: DeviceKind) -> FailureCode | None:
        for device in self._desk.agent.device_list():
            if device.kind is kind and device.state is DeviceState.LOST:
                return device.failure or FailureCode.READER_LOST
        return None
