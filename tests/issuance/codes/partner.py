"""A program that speaks the bus's envelope: cryptography and hashlib only, nothing of ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

import httpx
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.issuance.conftest import Centre

BUS = "/ecard/v1/bus"


@dataclass
class Partner:
    """As a contractor writes it from the description."""

    centre: Centre
    cipher: str
    access_key: str
    key: str
    secret: str

    def _cipher(self, iv: bytes) -> Cipher[Any]:
        if self.cipher == "aes-ecb":
            return Cipher(algorithms.AES(bytes.fromhex(self.key)), modes.ECB())
        return Cipher(algorithms.SM4(bytes.fromhex(self.key)), modes.CBC(iv))

    def encrypt(self, text: bytes) -> str:
        pad = 16 - len(text) % 16
        iv = b"" if self.cipher == "aes-ecb" else bytes(range(16))
        worker = self._cipher(iv).encryptor()
        return base64.b64encode(iv + worker.update(text + bytes([pad]) * pad) + worker.finalize()).decode()

    def decrypt(self, text: str) -> dict[str, str]:
        raw = base64.b64decode(text)
        iv, data = (b"", raw) if self.cipher == "aes-ecb" else (raw[:16], raw[16:])
        worker = self._cipher(iv).decryptor()
        plain = worker.update(data) + worker.finalize()
        value: dict[str, str] = json.loads(plain[: -plain[-1]])
        return value

    def headers(self, security: str, **change: str) -> dict[str, str]:
        fields = {
            "_api_name": "qrcode_valid_encrypt",
            "_api_version": "1.0.0",
            "_api_access_key": self.access_key,
            "_api_timestamp": str(round(self.centre.clock().timestamp() * 1000)),
        } | change
        text = "&".join(f"{name}={value}" for name, value in sorted((fields | {"security": security}).items()))
        kind = "sha1" if self.cipher == "aes-ecb" else "sm3"
        mac = hmac.new(self.secret.encode(), text.encode(), lambda: hashlib.new(kind)).digest()
        return fields | {"_api_signature": base64.b64encode(mac).decode()}

    async def send(self, security: str, headers: dict[str, str]) -> httpx.Response:
        return await self.centre.anyone().post(BUS, json={"security": security}, headers=headers)

    async def ask(self, value: object, **change: str) -> httpx.Response:
        security = self.encrypt(json.dumps(value).encode())
        return await self.send(security, self.headers(security, **change))
