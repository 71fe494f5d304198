"""Messages of transit authorisations."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class TransitAuthorisation(BaseModel):
    """What the phone keeps and finishes a code from, each time with the moment and its signature."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "authorisation": "81014924010100000112990100011228…",
                    "profile": "a_c",
                    "authorised_until": "2026-11-21T00:00:00Z",
                    "validity_s": 60,
                    "amount_limit_fen": 2000,
                }
            ]
        }
    )

    authorisation: str = Field(description="Everything before field 15, hex (docs/transit-code.md)")
    profile: str = Field(description="Reading of the layout that gates of the region use: a_c or b")
    authorised_until: datetime = Field(description="Field 11; no gate takes a code later")
    validity_s: int = Field(description="Field 12: seconds a code lives once it is made")
    amount_limit_fen: int = Field(description="Field 9: highest fare of one passage")
