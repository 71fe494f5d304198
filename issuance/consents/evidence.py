"""Checks the proof of a consent (`GET …/consents/{id}/proof`) as anybody may: trusts the fingerprint and nothing else.

    python -m issuance.consents.evidence proof.json --key FINGERPRINT

Every entry must stand under a signed head of the audit log (`issuance.audit.verifier`, which also checks each one
alone), they must be numbered without a gap and stand in the order of the log, and the entry of the approval must name
the text and the key that the holder's signature fits. Ends with 0 when all is well, with 1 when something was found,
with 2 for a bad file.
"""

from __future__ import annotations

import argparse
import hmac
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from issuance.audit.verifier import FormatError, check_proof, sm2_verify, sm3

APPROVAL = "consent.approve"
PAGE = 100
"""Entries of one proof; later ones are asked for by their number."""
_BROKEN = (FormatError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
Entry = dict[str, Any]


def check_evidence(proof: dict[str, Any], keys: set[str], digest: Callable[[bytes], bytes] = sm3) -> list[str]:
    """What is wrong with a proof, in words; nothing when it holds. `keys`: fingerprints that are trusted.

    Raises FormatError for what is no such proof.
    """
    try:
        if proof["onecard_consent"] != 1:
            raise FormatError("not the proof of a consent, or of another version")
        found = _check_places(proof, keys, digest)
        entries = [dict(place["entry"]) for place in proof["entries"]]
        return found + _check_order(proof, entries) + _check_signature(proof, entries, digest)
    except _BROKEN as error:
        raise FormatError(f"not the proof of a consent: {type(error).__name__}") from error


def _check_places(proof: dict[str, Any], keys: set[str], digest: Callable[[bytes], bytes]) -> list[str]:
    found = []
    for place in proof["entries"]:
        found += [f"entry {place['entry']['id']}: {finding}" for finding in check_proof(place, keys, digest)]
        if place["entry"]["subject"] != f"consent:{proof['id']}":
            found.append(f"entry {place['entry']['id']} is about something else")
    return found


def _check_order(proof: dict[str, Any], entries: list[Entry]) -> list[str]:
    """Numbers run on from `first` up to what is said to be there; places in the log rise with them."""
    found = []
    numbers = [json.loads(entry["detail"])["number"] for entry in entries]
    if numbers != list(range(proof["first"], proof["first"] + len(numbers))):
        found.append(f"entries are missing, doubled or in another order: {numbers}")
    told = len(numbers) + proof["waiting"]
    if told != min(PAGE, proof["of"] - proof["first"] + 1):
        found.append(f"{told} entries where the proof says there are {proof['of']}")
    leaves = [place["leaf"] for place in proof["entries"]]
    if leaves != sorted(set(leaves)):
        found.append("the entries do not stand in the order of the log")
    return found


def _check_signature(proof: dict[str, Any], entries: list[Entry], digest: Callable[[bytes], bytes]) -> list[str]:
    approvals = [json.loads(entry["detail"]) for entry in entries if entry["act"] == APPROVAL]
    if proof["signature"] is None:
        return ["an approval is on record, but no signature"] if approvals else []
    text = proof["text"].encode()
    found = []
    if not sm2_verify(bytes.fromhex(proof["public_key"]), text, bytes.fromhex(proof["signature"])):
        found.append("the holder's signature does not fit the text")
    if f"编号 / Number: {proof['id']}" not in proof["text"].splitlines():
        found.append("the text is that of another consent")
    if not approvals and proof["first"] == 1:
        found.append("no approval is on record")
    for approval in approvals:
        if not hmac.compare_digest(approval["text_sm3"], digest(text).hex()):
            found.append("the approval on record is for another text")
        if not hmac.compare_digest(approval["key"], proof["public_key"]):
            found.append("the approval on record is by another key")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description="Check the proof of a consent.")
    options.add_argument("file", type=Path, help="the answer of GET …/consents/{id}/proof")
    options.add_argument("--key", action="append", required=True, help="fingerprint (SM3, hex) of a trusted key")
    given = options.parse_args(arguments)
    try:
        found = check_evidence(json.loads(given.file.read_text("utf-8")), {key.lower() for key in given.key})
    except (OSError, ValueError, FormatError) as error:
        sys.stderr.write(f"✗ 无法读取 / cannot be read: {error}\n")
        return 2
    for finding in found:
        sys.stdout.write(f"✗ {finding}\n")
    sys.stdout.write(f"{'✗' if found else '✓'} {len(found)} 处问题 / findings\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
