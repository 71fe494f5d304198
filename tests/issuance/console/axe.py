"""axe-core, the accessibility checker, from npm: kept in the cache of who runs the tests, never in the tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.npm import npm_package

VERSION = "4.10.3"
GRAVE = ("serious", "critical")
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_RUN = """tags => axe.run(document, {runOnly: {type: "tag", values: tags}, resultTypes: ["violations"]})
  .then(found => found.violations.map(v => [v.id, v.impact, v.nodes.map(n => n.html.slice(0, 160))]))"""


def axe_script() -> Path | None:
    """The script, fetched once; None where npm or its registry is missing."""
    package = npm_package("axe-core", VERSION)
    return package / "axe.min.js" if package else None


async def faults(page: Any) -> list[str]:
    """What axe finds on the page shown, grave or not; the script was added to its context before."""
    found = await page.evaluate(_RUN, _TAGS)
    return [f"{impact} {rule}: {' | '.join(nodes[:3])}" for rule, impact, nodes in found]
