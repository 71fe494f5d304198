"""Key completeness at SET STATE 03: every key of the specification, for the applications that exist."""

from __future__ import annotations

from cardlib.spec import Generation, KeySpec, load
from simulators.card.crypto import Algorithm
from simulators.card.state import CardState, Df, KeyType

_INTERCHANGEABLE = {KeyType.MAC, KeyType.MAC_ENCRYPTION}


def missing_keys(state: CardState) -> list[str]:
    """Names of keys without a version 01 record; one version is enough, a PIN is not required."""
    spec = load(Generation.V3 if state.algorithm is Algorithm.SM4 else Generation.V2)
    names = {df.fid: df.name for df in spec.dfs}
    missing = []
    for df in state.dfs:
        name = names.get(df.fid, "")
        if df.master is None:
            missing.append(f"MK_{name}")
        missing += [key.name for key in (spec.keys_of(name) if name else ()) if not _is_present(df, key)]
    return missing


def _is_present(df: Df, key: KeySpec) -> bool:
    kind = KeyType(key.type)
    return df.key(_INTERCHANGEABLE if kind in _INTERCHANGEABLE else {kind}, key.kid, 1) is not None
