"""Each defect lint knows, made by one edit of the sound item."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from apps_catalog import load
from apps_catalog.catalog import DATA
from apps_catalog.lint import Defect, findings
from tests.apps_catalog.conftest import ITEM

DAY = date(2025, 6, 1)
NAMED = ITEM.replace(', "130100"]', "]")
PLACE = 'places = [{ area = "110100", name = { zh = "馆", en = "Hall" }, closed = 2025-05-31 }]\n'


def province(code: str, carriers: str = '["contact", "qr"]') -> str:
    text = NAMED.replace("joint", code).replace('"regional"', '"province"').replace('["110000"]', f'["{code}"]')
    return text.replace('["contact", "qr"]', carriers)


@pytest.mark.parametrize(
    ("files", "defects"),
    [
        ({"one": NAMED}, []),
        ({"one": province("110000"), "two": province("120000")}, []),
        ({"one": province("110000"), "two": province("120000", '["qr"]')}, [Defect.CONFLICT]),
        ({"one": province("110000"), "two": NAMED + "rule = { age_from = 60 }\n"}, [Defect.CONFLICT]),
        (
            {
                "one": province("110000"),
                "two": province("120000", '["qr"]') + 'differs = { zh = "无读卡器", en = "No reader" }\n',
            },
            [],
        ),
        ({"one": NAMED + 'rule = { card_states = ["cancelled"] }\n'}, [Defect.UNREACHABLE]),
        (
            {"one": NAMED.replace(', "qr"]', "]") + 'rule = { card_states = ["lost"] }\n'},
            [Defect.UNREACHABLE],
        ),
        ({"one": ITEM.replace("130100", "130102")}, [Defect.UNNAMED_AREA]),
        ({"one": NAMED + PLACE.replace("110100", "110000")}, [Defect.DEAD_PLACE]),
        ({"one": NAMED + PLACE.replace("110100", "110000").replace("05-31", "06-01")}, []),
        ({"one": NAMED + PLACE}, [Defect.UNNAMED_AREA, Defect.DEAD_PLACE]),
        ({"one": NAMED.replace("2025-12-31", "2025-05-31") + PLACE}, []),
    ],
)
def test_defects(write: Callable[..., Path], files: dict[str, str], defects: list[Defect]) -> None:
    assert [finding.defect for finding in findings(load(write(**files)), DAY)] == defects


def test_a_law_that_ended_supports_nothing(write: Callable[..., Path]) -> None:
    head = (DATA / "catalog.toml").read_text(encoding="utf-8")
    key = 'key = "provisions-2024"\n'
    catalog = load(write(head=head.replace(key, f"{key}expires = 2025-05-31\n"), one=NAMED))
    (finding,) = findings(catalog, DAY)
    assert (finding.defect, finding.items) == (Defect.EXPIRED_BASIS, ("joint-culture-loan",))
    assert "2025-05-31" in finding.to_json()["text"]["en"]
    assert findings(catalog, date(2025, 5, 31)) == []
