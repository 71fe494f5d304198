"""Roots beside those of the card specification, taken over from the simulated ministry: the transit operator's, and
the control keys of the PSAMs."""

from __future__ import annotations

import secrets
from collections.abc import Collection

from hsm.api import Algorithm, KeyNotFoundError, KeyRef, Purpose
from hsm.soft import SoftKeyService
from hsm.transit_transactions import PURPOSES as TRANSIT_PURPOSES
from simulators.apps.build import operator_root
from simulators.card.crypto import Algorithm as ChipAlgorithm
from simulators.card.crypto import xor
from simulators.ministry import RootKeys
from simulators.psam.build import CONTROL_NAMES, control_root

_CHIP = {Algorithm.TDES: ChipAlgorithm.TRIPLE_DES, Algorithm.SM4: ChipAlgorithm.SM4}
TRANSIT_LEVEL, CONTROL_LEVEL = 2, 3
"""Diversified twice and once: by issuer and purse, and by the PSAM alone."""


def import_operator_roots(service: SoftKeyService, roots: RootKeys, *, without: Collection[str] = ()) -> int:
    """Import what is missing, by two components each; returns how many were new."""
    count = 0
    for algorithm, chip in _CHIP.items():
        for name, purpose in TRANSIT_PURPOSES.items():
            root = operator_root(roots.root, name.removeprefix("TR_"), str(algorithm))
            ref = KeyRef(name, algorithm)
            count += str(ref) not in without and _put(service, ref, purpose, TRANSIT_LEVEL, root)
        for kid, name in CONTROL_NAMES.items():
            root = control_root(roots, kid, chip)
            ref = KeyRef(name, algorithm)
            count += str(ref) not in without and _put(service, ref, Purpose.MASTER, CONTROL_LEVEL, root)
    return count


def _put(service: SoftKeyService, ref: KeyRef, purpose: Purpose, level: int, root: bytes) -> bool:
    try:
        service.info(ref)
    except KeyNotFoundError:
        share = secrets.token_bytes(len(root))
        service.import_components(ref, purpose, [share, xor(root, share)], level=level)
        return True
    return False
