"""Pictures of pages, for people to look at: taken when `ONECARD_SCREENSHOTS` is set, as half of what a page costs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

ARE_WANTED = bool(os.environ.get("ONECARD_SCREENSHOTS"))


async def take(page: Any, path: Path, *, is_full: bool = False) -> None:
    """Of a page in Playwright's asynchronous interface."""
    if ARE_WANTED:
        path.parent.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=str(path), full_page=is_full)
