"""The block list (黑名单): lost and cancelled cards, physical and electronic, decided without the network."""

from __future__ import annotations

from apps_catalog.block_list.builder import build, build_delta
from apps_catalog.block_list.errors import BlockListError, OlderListError
from apps_catalog.block_list.keys import Kind, purse_number, transit_account_number
from apps_catalog.block_list.listing import read_listing
from apps_catalog.block_list.lookup import BlockList, Verdict
from apps_catalog.block_list.policy import Action, Decision, Freshness, Policy, policies

__all__ = [
    "Action",
    "BlockList",
    "BlockListError",
    "Decision",
    "Freshness",
    "Kind",
    "OlderListError",
    "Policy",
    "Verdict",
    "build",
    "build_delta",
    "policies",
    "purse_number",
    "read_listing",
    "transit_account_number",
]
