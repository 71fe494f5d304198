"""Simulated devices on pseudo-terminals: MT3 reader, ID-card module, QR scanner and PIN pad."""

from simulators.serial.idcard import Person, SimIdCardModule
from simulators.serial.mt3 import SimMt3Reader
from simulators.serial.pinpad import SimPinPad
from simulators.serial.pty import PtyDevice
from simulators.serial.scanner import SimScanner

__all__ = ["Person", "PtyDevice", "SimIdCardModule", "SimMt3Reader", "SimPinPad", "SimScanner"]
