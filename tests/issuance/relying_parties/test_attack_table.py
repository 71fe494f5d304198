"""Attacks on log-ins, and the tests in which each is tried: none of these may go without somebody noticing."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PHONE, PAGE = "log_ins/test_attacks.py", "log_ins/test_page.py"
PROVIDER, FLOWS, DEVICES = (f"relying_parties/test_{name}.py" for name in ("attacks", "flows", "devices"))
KEYS, COUNTER = "relying_parties/test_client_keys.py", "relying_parties/test_backchannel.py"
ATTACKS: dict[str, tuple[tuple[str, str], ...]] = {
    "stolen link code": (
        (PHONE, "test_a_second_phone_with_a_stolen_code_gets_nothing"),
        (PHONE, "test_a_code_is_the_first_phone_s_though_nothing_came_of_it"),
    ),
    "second phone": (
        (PHONE, "test_a_claim_is_one_row_though_the_code_store_forgets"),
        (PHONE, "test_a_signature_of_another_phone_is_none"),
        (COUNTER, "test_only_the_holder_who_is_named_can_take_it"),
    ),
    "swapped browser": (
        (PHONE, "test_another_browser_gets_neither_page_nor_outcome"),
        (PAGE, "test_another_browser_sees_nothing_of_it"),
        (DEVICES, "test_a_user_code_opens_one_log_in"),
    ),
    "wrong number": (
        (PHONE, "test_a_wrong_number_ends_the_log_in"),
        (PHONE, "test_the_signature_covers_the_number"),
        (PAGE, "test_a_refusal_and_a_wrong_number_lead_back_with_the_error_s_name"),
        (COUNTER, "test_a_refusal_and_a_wrong_number_reach_the_counter"),
    ),
    "expired": (
        (PHONE, "test_everything_ends_with_its_time"),
        (PHONE, "test_an_approval_nobody_fetches_is_over_after_a_minute"),
        (PROVIDER, "test_code_of_another_address_or_too_late"),
        (DEVICES, "test_a_device_that_waits_too_long"),
        (COUNTER, "test_a_counter_that_asks_too_often_or_too_late"),
    ),
    "same code twice": (
        (PHONE, "test_an_approval_sent_again_logs_nobody_in_twice"),
        (FLOWS, "test_pushed_request"),
        (DEVICES, "test_of_two_that_ask_for_the_tokens_one_gets_them"),
        (COUNTER, "test_requests_are_the_client_s_own"),
        (KEYS, "test_an_assertion_counts_once"),
    ),
    "redirect_uri tricks": (
        (PROVIDER, "test_nobody_is_sent_to_an_address_that_is_not_registered"),
        (PROVIDER, "test_addresses_cannot_be_read_in_two_ways"),
    ),
    "mix-up": (
        (FLOWS, "test_the_authorization_answer_names_its_issuer"),
        (PROVIDER, "test_codes_and_tokens_are_the_clients_own"),
    ),
    "PKCE missing, plain, downgraded": (
        (PROVIDER, "test_requests_that_are_refused"),
        (PROVIDER, "test_pkce_at_the_token_endpoint"),
        (PROVIDER, "test_a_challenge_is_no_verifier"),
    ),
    "alg confusion and none": (
        (PROVIDER, "test_forged_and_confused_tokens"),
        (KEYS, "test_assertions_that_prove_nothing"),
        (KEYS, "test_request_objects_that_are_refused"),
    ),
    "refresh reuse": (
        (PROVIDER, "test_a_refresh_token_that_comes_again_ends_the_log_in"),
        (PROVIDER, "test_a_chain_of_refresh_tokens"),
    ),
    "code reuse revokes tokens": ((PROVIDER, "test_a_code_that_comes_again_ends_the_log_in"),),
    "request object substitution": (
        (PROVIDER, "test_a_pushed_request_is_what_counts"),
        (KEYS, "test_a_signed_request_counts_and_nothing_beside_it"),
        (KEYS, "test_request_objects_that_are_refused"),
        (KEYS, "test_references_of_others_are_never_fetched"),
        (KEYS, "test_who_signs_its_requests_is_sent_nobody_by_another_s_unsigned_one"),
    ),
    "open redirect at logout": ((PROVIDER, "test_logout_sends_nobody_elsewhere"),),
    "CSRF on approval": (
        (PHONE, "test_an_approval_without_the_phone_s_proof_is_refused"),
        (PHONE, "test_an_approval_needs_the_password_given_for_a_log_in"),
        (PAGE, "test_another_site_cannot_give_up_a_log_in"),
    ),
    "flooding": (
        (PHONE, "test_link_codes_are_limited_by_browser"),
        (PHONE, "test_log_ins_are_limited_by_network_and_by_relying_party"),
        (DEVICES, "test_guessing_user_codes_is_limited"),
        (COUNTER, "test_one_holder_cannot_be_flooded"),
    ),
    "learning who has a card": ((COUNTER, "test_who_is_named_cannot_be_found_out"),),
    "false name": ((PHONE, "test_the_name_shown_is_the_registered_one_on_one_line"),),
    "known offenders": (
        (PHONE, "test_the_deny_list_holds_at_every_stage"),
        (PHONE, "test_an_operator_denies_while_the_service_runs"),
    ),
}


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_is_tried(attack: str) -> None:
    assert [name for path, name in ATTACKS[attack] if name not in names_in(path)] == []
