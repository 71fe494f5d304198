"""A host of a few lines for the simulated card: keys in the open, no error handling."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from cardlib.spec import Generation
from simulators.card import Algorithm, CardState, Life, SimCard, crypto
from simulators.factory import build_card
from simulators.ministry import RootKeys
from simulators.personas import Persona

VECTORS = Path(__file__).parents[1] / "vectors"
CHALLENGE = bytes.fromhex("A1A2A3A4A5A6A7A8")
ORIGINAL = bytes.fromhex("0102030405060708")
SSSE = "00A404000F7378312E73682EC9E7BBE1B1A3D5CF"
DF = {n: f"00A4040006D156000005{i:02X}" for n, i in (("DF01", 0), ("DF02", 1), ("DF03", 2), ("DF04", 3), ("DF07", 4))}
BOTH = (Algorithm.TRIPLE_DES, Algorithm.SM4)


@cache
def vectors(name: str = "vectors_card_crypto") -> dict[str, Any]:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [v for v in vectors()["vectors"] if v["kind"] == kind]


def algorithm_of(vector: dict[str, Any]) -> Algorithm:
    return Algorithm.SM4 if vector["alg"] == "SM4" else Algorithm.TRIPLE_DES


@cache
def vector_roots() -> RootKeys:
    """Random roots, with the vectors' own where they name one."""
    roots = RootKeys.generate()
    for name, root in vectors()["meta"]["root_keys"].items():
        for algorithm in roots.keys:
            roots.keys[algorithm][name] = bytes.fromhex(root["key"])[: len(roots.keys[algorithm][name])]
    return roots


ITEMS = {
    "SSSEEF05": {
        "01": "990100D15600000500000001FFFFFFFF",
        "02": "3",
        "03": "3.00",
        "04": "915600000299010099010001",
        "05": "20250101",
        "06": "20350101",
        "07": "A00000011",
    },
    "SSSEEF06": {
        "08": "990100199001010012",
        "09": "测试甲",
        "0A": "9",
        "0B": "99",
        "0C": "990100",
        "0D": "19900101",
    },
    "DF04EF05": {"8F": "2"},
}


def vector_state(algorithm: Algorithm, *, pin: str = "123456", life: Life = Life.ISSUED, balance: int = 0) -> CardState:
    """The card of the worked vectors: region 990100, serial 00000001."""
    generation = Generation.V3 if algorithm is Algorithm.SM4 else Generation.V2
    persona = Persona("vector", "", "", generation, life, "990100", 1, pin, balance_fen=balance, items=ITEMS)
    return build_card(persona, vector_roots())


class FixedRandom:
    """Hands out the given values in turn, then the worked challenge."""

    def __init__(self, *values: str) -> None:
        self._values: Iterator[str] = iter(values)

    def __call__(self, length: int) -> bytes:
        value = bytes.fromhex(next(self._values, "")) or CHALLENGE
        return (value * length)[:length]


class Host:
    """Sends hex, returns hex; GET RESPONSE is followed."""

    def __init__(self, card: SimCard) -> None:
        self.card = card
        card.power_on()

    def __call__(self, command: str) -> str:
        answer = self.card.transmit(bytes.fromhex(command))
        if len(answer) == 2 and answer[0] == 0x61:
            answer = self.card.transmit(bytes((0, 0xC0, 0, 0, answer[1])))
        return answer.hex().upper()

    def reset(self) -> None:
        self.card.power_off()
        self.card.power_on()

    def key(self, kid: int, df: str = "SSSE") -> bytes:
        """The value this card holds of an authentication, message or master key."""
        state = self.card.state
        file = next(d for d in state.dfs if d.fid == (0xDDF1 if df == "SSSE" else int(df, 16)))
        if kid in (0x00, 0x80):
            return file.master.value if file.master else state.transport.value
        return next(k.value for k in file.keys if k.kid == kid and k.type in (6, 7, 8))

    def authenticate(self, kid: int, df: str = "SSSE", *, key: bytes | None = None) -> str:
        """GET CHALLENGE and EXTERNAL AUTHENTICATION with the card's key, or with another."""
        algorithm = self.card.state.algorithm
        challenge = bytes.fromhex(self("0084000008"))[:8]
        session_key = crypto.session_key(algorithm, key or self.key(kid, df), challenge)
        value = crypto.authentication_value(algorithm, session_key, ORIGINAL)
        return self(f"008200{kid:02X}10{value.hex()}{ORIGINAL.hex()}")

    def secured(self, header: str, body: str, key: bytes) -> str:
        """A command with the MAC of a fresh challenge, `header` without Lc."""
        algorithm = self.card.state.algorithm
        session_key = crypto.session_key(algorithm, key, bytes.fromhex(self("0084000008"))[:8])
        return self(self._with_mac(header, body, session_key, b""))

    def under_master(self, header: str, body: str, master: bytes) -> str:
        """A command with the MAC of the whole master key, IV from a 4-byte challenge."""
        iv = bytes.fromhex(self("0084000004"))[:4]
        return self(self._with_mac(header, body, master, iv))

    def write_key(self, p1: int, plain: str, master: bytes) -> str:
        block = self.card.state.algorithm.block
        body = bytes((len(plain) // 2,)) + bytes.fromhex(plain)
        body += (b"\x80" + bytes(block))[: -len(body) % block]
        cipher = crypto.ecb(self.card.state.algorithm, master, body)
        reference = plain[2:4]
        return self.under_master(f"84D4{p1:02X}{reference}", cipher.hex(), master)

    def _with_mac(self, header: str, body: str, key: bytes, iv: bytes) -> str:
        start = bytes.fromhex(header) + bytes((len(body) // 2 + 4,)) + bytes.fromhex(body)
        return (start + crypto.mac(self.card.state.algorithm, key, start, iv)).hex()


def host(algorithm: Algorithm = Algorithm.TRIPLE_DES, *, rng: FixedRandom | None = None, **state: Any) -> Host:
    return Host(SimCard(vector_state(algorithm, **state), rng=rng or FixedRandom()))
