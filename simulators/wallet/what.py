"""What the holder can do with the own card in each of the three provinces; nothing has to be typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response

from simulators.wallet.page import PageOf

router = APIRouter()
_PLACE: Final = "place"
"""Ground of the reason that says whether an item is offered there at all."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One item: `outcome` is yes, depends or no; `why` are the reasons that keep it from a plain yes."""

    name: dict[str, str]
    summary: dict[str, str]
    outcome: str
    why: list[dict[str, str]]


@router.get("/what")
async def what(page: PageOf, region: Annotated[str, Query(alias="in", pattern="^[0-9]{6}$")] = "") -> Response:
    if not region:
        region = (await page.channel.card())["region"]
    catalog = await page.channel.catalog(region)
    answers = (await page.channel.get(f"/catalog?in={region}"))["answers"]
    offered = [answer for answer in answers if _is_offered(answer)]
    summaries = {item["id"]: item["summary"] for item in catalog["items"]}
    shown = [(answer["domain"], _shown(answer, summaries)) for answer in offered]
    domains = [
        (domain, [item for key, item in shown if key == domain["key"] and item.outcome != "no"])
        for domain in catalog["domains"]
    ]
    return page.draw(
        "what.html",
        region=region,
        regions=catalog["regions"],
        domains=[(domain, items) for domain, items in domains if items],
        not_now=[item for _, item in shown if item.outcome == "no"],
        notice=catalog["notice"],
        here="card",
    )


def _is_offered(answer: dict[str, Any]) -> bool:
    """There, and now: what another province offers, or nobody yet, is no answer to the question."""
    return all(reason["met"] is not False for reason in answer["reasons"] if reason["ground"] in (_PLACE, "days"))


def _shown(answer: dict[str, Any], summaries: dict[str, dict[str, str]]) -> Shown:
    against = False if answer["outcome"] == "no" else None
    why = [reason["text"] for reason in answer["reasons"] if reason["met"] is against]
    summary = summaries.get(answer["id"], {"zh": "", "en": ""})
    return Shown(answer["name"], summary, answer["outcome"], why)
