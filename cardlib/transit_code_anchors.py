"""The roots a gate trusts, and the file that carries them: JSON, made by the root's owner, handed over by a safe way.

    {"format": "transit-anchors-1",
     "anchors": [{"index": 1, "name": "…", "public_key": "02…", "not_after": "2036-12-31"}]}

`public_key` is the compressed point in hex, `not_after` the last day in China on which the root counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar, Final

from cardlib.strict_json import no_constant, once
from cardlib.transit_code import CHINA
from hsm.api import BadInputError
from hsm.primitives import compress, decompress

FORMAT: Final = "transit-anchors-1"
MAX_BYTES: Final = 1 << 16
MAX_ANCHORS: Final = 256
MAX_NAME: Final = 100
_KEYS: Final = {"index", "name", "public_key", "not_after"}


class TransitAnchorsError(ValueError):
    """A file or list of roots that cannot be trusted to mean what its maker meant; none of it is used."""

    failure: ClassVar[str] = "TRANSIT_ANCHORS_INVALID"


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """One root: `public_key` is 04 || X || Y, `not_after` the last day, in China, on which it counts."""

    index: int
    name: str
    public_key: bytes
    not_after: date
    ends_at: int = field(init=False)
    """Unix seconds of the first moment after `not_after`."""

    def __post_init__(self) -> None:
        if not 0 <= self.index <= 0xFF:
            raise TransitAnchorsError(f"root index {self.index} is not one byte")
        if not 1 <= len(self.name) <= MAX_NAME or not self.name.isprintable():
            raise TransitAnchorsError(f"root {self.index}: a name of 1 to {MAX_NAME} printable characters is needed")
        try:
            compress(self.public_key)
            midnight = datetime.combine(self.not_after + timedelta(days=1), time(), CHINA)
        except (BadInputError, OverflowError) as error:
            raise TransitAnchorsError(f"root {self.index}: {error}") from error
        object.__setattr__(self, "ends_at", int(midnight.timestamp()))


class TrustAnchors:
    """Roots by index; two of one index are refused, because nobody could say which one is meant."""

    def __init__(self, anchors: Iterable[TrustAnchor]) -> None:
        listed = list(anchors)
        self._by_index = {anchor.index: anchor for anchor in listed}
        if len(self._by_index) != len(listed):
            raise TransitAnchorsError("two roots have the same index")

    def __iter__(self) -> Iterator[TrustAnchor]:
        return iter(self._by_index.values())

    def __len__(self) -> int:
        return len(self._by_index)

    def find(self, index: int) -> TrustAnchor | None:
        return self._by_index.get(index)

    @classmethod
    def parse(cls, raw: bytes) -> TrustAnchors:
        """Raises TransitAnchorsError; an unknown key, a doubled one or an empty list is refused as well."""
        if len(raw) > MAX_BYTES:
            raise TransitAnchorsError(f"more than {MAX_BYTES} bytes")
        try:
            table = json.loads(raw.decode("utf-8"), object_pairs_hook=once, parse_constant=no_constant)
        except (ValueError, RecursionError) as error:
            raise TransitAnchorsError("not JSON, or a key stands twice") from error
        if not isinstance(table, dict) or table.keys() != {"format", "anchors"} or table["format"] != FORMAT:
            raise TransitAnchorsError(f"an object with format {FORMAT} and anchors was expected")
        listed = table["anchors"]
        if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_ANCHORS:
            raise TransitAnchorsError(f"a list of 1 to {MAX_ANCHORS} anchors was expected")
        return cls(_anchor(each) for each in listed)

    def encode(self) -> bytes:
        """The file, sorted by index."""
        listed = [
            {
                "index": anchor.index,
                "name": anchor.name,
                "public_key": compress(anchor.public_key).hex().upper(),
                "not_after": anchor.not_after.isoformat(),
            }
            for _, anchor in sorted(self._by_index.items())
        ]
        return json.dumps({"format": FORMAT, "anchors": listed}, ensure_ascii=False, indent=2).encode() + b"\n"


def _anchor(table: Any) -> TrustAnchor:
    if not isinstance(table, dict) or table.keys() != _KEYS:
        raise TransitAnchorsError(f"an anchor has {', '.join(sorted(_KEYS))}")
    index, name, public_key, not_after = (table[key] for key in ("index", "name", "public_key", "not_after"))
    if type(index) is not int or not all(isinstance(text, str) for text in (name, public_key, not_after)):
        raise TransitAnchorsError("an anchor's index is a number, the rest are texts")
    try:
        last = date.fromisoformat(not_after)
        if last.isoformat() != not_after:
            raise TransitAnchorsError(f"root {index}: the date is not written YYYY-MM-DD")
        return TrustAnchor(index, name, decompress(bytes.fromhex(public_key)), last)
    except TransitAnchorsError:
        raise
    except ValueError as error:
        raise TransitAnchorsError(f"root {index}: {error}") from error
