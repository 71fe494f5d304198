"""Paper of a ceremony: a form for each officer with his share alone, and a record without any."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from hsm.api import CARD_PURPOSES, KeyInfo
from hsm.ceremony import GROUP_LENGTH, GROUPS_PER_LINE, Scheme, Share, secret_kcv
from hsm.primitives import default_engine
from onecard_cli.card_data import private_file
from onecard_cli.hierarchy import Regions

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
)
_GROUP = re.compile(r'<td class="group">([^<]*)</td>')


@dataclass(frozen=True, slots=True)
class Ceremony:
    """What is public of a ceremony."""

    number: str
    kcv: str
    regions: Regions
    officers: Sequence[str]
    threshold: int
    scheme: Scheme
    at: datetime

    @classmethod
    def of(cls, secret: bytes, shares: Sequence[Share], regions: Regions, officers: Sequence[str]) -> Ceremony:
        kcv = secret_kcv(default_engine(), secret).hex().upper()
        first = shares[0]
        at = datetime.now().astimezone()
        return cls(first.ceremony.hex().upper(), kcv, regions, officers, first.threshold, first.scheme, at)

    def envelope(self, share_number: int) -> str:
        return f"OC-{self.number[:5]}-{self.number[5:]}-{share_number}"


def write_share_forms(folder: Path, ceremony: Ceremony, shares: Sequence[Share]) -> Iterator[Path]:
    """One page an officer, each told when it is there. Raises CommandError CONFLICT for a file that exists."""
    for share, officer in zip(shares, ceremony.officers, strict=True):
        lines = [line.split() for line in share.text(default_engine())]
        page = TEMPLATES.get_template("share.html").render(
            ceremony=ceremony,
            officer=officer,
            share=share,
            envelope=ceremony.envelope(share.number),
            check=share.check(default_engine()),
            lines=[(1 + n * GROUPS_PER_LINE, line) for n, line in enumerate(lines)],
        )
        yield _write(folder / f"share-{share.number}.html", page)


def write_record(folder: Path, ceremony: Ceremony, shares: Sequence[Share], keys: Sequence[KeyInfo]) -> Path:
    """Check values of shares and keys, for the file of the ceremony."""
    regions = ["", ceremony.regions.province, *ceremony.regions.cities]
    page = TEMPLATES.get_template("record.html").render(
        ceremony=ceremony,
        shares=[
            (share.number, officer, ceremony.envelope(share.number), share.check(default_engine()))
            for share, officer in zip(shares, ceremony.officers, strict=True)
        ],
        regions=[
            (region, [i for i in keys if i.ref.region == region and i.purpose in CARD_PURPOSES]) for region in regions
        ],
    )
    return _write(folder / "record.html", page)


def share_text(content: str) -> str:
    """The share in what was handed over as a file: plain text, or the form itself."""
    groups = _GROUP.findall(content)
    return " ".join(groups) if groups and len(groups[0]) == GROUP_LENGTH else content


def _write(path: Path, page: str) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with private_file(path) as file:
        file.write(page)
    return path
