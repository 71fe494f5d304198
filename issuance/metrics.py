"""Prometheus counters of one app instance; labels are routes and codes only."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "onecard_issuance_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "onecard_issuance_request_seconds", "Time to answer", ["route"], registry=self.registry
        )
        self.card_sessions = Counter(
            "onecard_issuance_card_sessions", "Card sessions ended", ["kind", "outcome"], registry=self.registry
        )
        self.codes = Counter(
            "onecard_issuance_codes", "Electronic card codes", ["scene", "outcome"], registry=self.registry
        )
        self.publications = Counter(
            "onecard_issuance_publications",
            "Parts published for terminals",
            ["part", "outcome"],
            registry=self.registry,
        )
        self.published_at = Gauge(
            "onecard_issuance_published_at", "Unix second a part was last published", ["part"], registry=self.registry
        )

    def render(self) -> bytes:
        return generate_latest(self.registry)
