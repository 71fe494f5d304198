"""Devices on serial ports: MT3 readers, ID-card modules, QR scanners and PIN pads. Only `port` touches pyserial."""
