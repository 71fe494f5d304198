"""The simulated key authority: random root keys that exist on this machine only."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cardlib.spec import Generation, load
from simulators.card.crypto import xor

ALGORITHMS = ("3DES", "SM4")


class RootKeysError(Exception):
    """The stored root keys cannot be read, or lack a key."""

    failure: ClassVar[str] = "KEY_STORE_CORRUPT"


def key_lengths(algorithm: str) -> dict[str, int]:
    """Every key name the specification knows under this algorithm, with the length of its root."""
    return {key.name: key.length(algorithm) for generation in Generation for key in load(generation).keys}


@dataclass(frozen=True, slots=True)
class RootKeys:
    """Roots by algorithm and key name. A real ministry never shows them; a simulated one hands them out in shares."""

    keys: dict[str, dict[str, bytes]]

    @classmethod
    def generate(cls) -> RootKeys:
        return cls(
            {alg: {name: secrets.token_bytes(size) for name, size in key_lengths(alg).items()} for alg in ALGORITHMS}
        )

    @classmethod
    def load_or_create(cls, path: Path | str) -> RootKeys:
        """The roots in `path` (mode 0600); made there first when absent. Two processes starting at once agree.

        Raises RootKeysError.
        """
        file = Path(path)
        if not file.exists():
            cls.generate().save(file)
        try:
            raw = json.loads(file.read_text(encoding="ascii"))
            roots = cls({alg: {name: bytes.fromhex(raw[alg][name]) for name in raw[alg]} for alg in ALGORITHMS})
        except (ValueError, KeyError, TypeError) as exc:
            raise RootKeysError(f"{file.name} is not a root key file") from exc
        if any(len(roots.keys[alg].get(name, b"")) != n for alg in ALGORITHMS for name, n in key_lengths(alg).items()):
            raise RootKeysError(f"{file.name} lacks a key of the specification")
        return roots

    def root(self, name: str, algorithm: str) -> bytes:
        """Raises RootKeysError."""
        try:
            return self.keys[algorithm][name]
        except KeyError:
            raise RootKeysError(f"no {algorithm} root key {name}") from None

    def components(self, name: str, algorithm: str) -> list[bytes]:
        """Two shares whose exclusive or is the root, fresh on every call, as two officers would bring them."""
        root = self.root(name, algorithm)
        share = secrets.token_bytes(len(root))
        return [share, xor(root, share)]

    def save(self, file: Path) -> None:
        """Kept at `file`, mode 0600; roots that are there already stay."""
        file.parent.mkdir(parents=True, exist_ok=True)
        text = {alg: {name: key.hex().upper() for name, key in keys.items()} for alg, keys in self.keys.items()}
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as out:
                json.dump(text, out, indent=1)
                out.flush()
                os.fsync(out.fileno())
            # link, not rename: whoever comes second must not replace roots already in use
            os.link(name, file)
        except FileExistsError:
            pass
        finally:
            Path(name).unlink(missing_ok=True)
