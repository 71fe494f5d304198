"""The pictures of docs/kiosk.md, made of the screenshots that `test_kiosk` took:

ONECARD_SCREENSHOTS=1 .venv/bin/python -m pytest tests/e2e/test_kiosk.py && .venv/bin/python -m tests.e2e.kiosk_pictures
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from PIL import Image

from tests.e2e.kiosk_guest import SHOTS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "kiosk.md"
IMAGES: Final = ROOT / "docs" / "images"
TAKEN: Final = SHOTS / "zh-1080"
WIDTH: Final = 420
COLOURS: Final = 128
MOST_BYTES: Final = 60_000
_USED: Final = re.compile(r"images/kiosk-([a-z0-9_]+)\.png")


def main() -> int:
    """Every picture that the page names. Exit status 1 when one was not taken or is too large."""
    faults = []
    for name in dict.fromkeys(_USED.findall(PAGE.read_text("utf-8"))):
        found = sorted(TAKEN.glob(f"[0-9]*-{name}.png"))
        if not found:
            faults.append(f"{name}: no screenshot in {TAKEN.relative_to(ROOT)}")
            continue
        file = IMAGES / f"kiosk-{name}.png"
        picture = Image.open(found[-1]).convert("RGB")
        small = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
        small.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
        if file.stat().st_size > MOST_BYTES:
            faults.append(f"{name}: {file.stat().st_size} bytes")
    print("\n".join(faults) or "✓")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
