"""What a row of the table is made of, and the ways to bring a card into a state.

A scenario takes a powered card and returns the last answer in hex; the word it must end with stands beside it.
`unreachable` says why where no card can come to a word.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

from cardlib.spec import Generation
from simulators.card import CardState, Life, SimCard
from simulators.card.state import Df, KeyType
from simulators.card.store import CardStore
from simulators.factory import build_card
from simulators.personas import Persona
from tests.simulators.support import DF, ITEMS, SSSE, FixedRandom, Host, vector_roots

PIN, WRONG = "0020000003123456", "0020000003111111"
ACCOUNT = "0001000300003A98000007D00000177020250101"

Scenario = Callable[[Host], str]


@dataclass(frozen=True)
class Command:
    """`plain` is a well-formed instance, sent in `df`; `done` does the whole act. `words` adds to the derived ones.

    Derived from the fields: class 6E00, parameters 6A86 (`bad_p1p2`), length 6700 (`bad_length`), card blocked 6A81,
    application blocked 9303 and, for commands that write, a failing memory 6581.
    """

    name: str
    ins: int
    plain: str
    done: Scenario
    bad_p1p2: str | None = None
    bad_length: str | None = None
    df: str = "DF01"
    writes: bool = False
    is_profile: bool = False
    words: dict[str, Scenario] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)
    not_in_1_0: dict[str, str] = field(default_factory=dict)

    def scenarios(self) -> dict[str, Scenario]:
        found: dict[str, Scenario] = {"9000": self.done}
        if not self.is_profile:
            found["6E00"] = lambda h: h("1" + self.plain[1:])
            found["6A81"] = lambda h: then(block_card(h), h(self.plain))
            found["9303"] = lambda h: then(block_application(h, self.df), h(self.plain))
            if self.bad_p1p2:
                found["6A86"] = lambda h: then(enter(h, self.df), h(self.bad_p1p2 or ""))
            if self.bad_length:
                found["6700"] = lambda h: then(enter(h, self.df), h(self.bad_length or ""))
            if self.writes:
                found["6581"] = lambda h: self.done(Failing(h, self.ins))
        found |= self.words
        return {word: act for word, act in found.items() if word not in self.unreachable}


def card(generation: Generation, *, pin: str = "123456", life: Life = Life.ISSUED) -> Host:
    """The card of the worked vectors in any generation, with money in its account."""
    items = copy.deepcopy(ITEMS)
    items["SSSEEF05"]["03"] = f"{generation}0"
    persona = Persona("conformance", "", "", generation, life, "990100", 1, pin, items=items)
    state = build_card(persona, vector_roots())
    if state.dfs:
        df_of(state, "DF04").ef(0x0002).content = bytes.fromhex(ACCOUNT)  # type: ignore[union-attr]
    return Host(SimCard(state, rng=FixedRandom()))


# -- ways to a state --------------------------------------------------------------------------------------------------


def then(_before: object, answer: str) -> str:
    return answer


def df_of(state: CardState, name: str) -> Df:
    return state.dfs[0] if name == "SSSE" else next(df for df in state.dfs if df.fid == int(name, 16))


def enter(h: Host, df: str) -> None:
    h(SSSE if df == "SSSE" else DF[df])


def block_card(h: Host) -> None:
    h(SSSE)
    h.authenticate(0x05)
    assert h.secured("84160000", "", h.key(0x02)) == "9000"


def block_application(h: Host, df: str) -> None:
    enter(h, df)
    local = df in ("DF03", "DF04")
    h.authenticate(0x83 if local else 0x05, df if local else "SSSE")
    assert h.secured("841E0001", "", h.key(0x82, df)) == "9000"


class BrokenMemory(CardStore):
    """Keeps the image it was made with and refuses every new one."""

    def __init__(self, state: CardState) -> None:
        super().__init__("unused")
        self._state = copy.deepcopy(state)
        self.is_broken = False

    def exists(self) -> bool:
        return True

    def load(self) -> CardState:
        return copy.deepcopy(self._state)

    def save(self, state: CardState) -> None:
        if self.is_broken:
            raise OSError("memory")


class Failing(Host):
    """A host whose card cannot store what one instruction changes."""

    def __init__(self, h: Host, ins: int) -> None:
        self._ins = ins
        self._memory = BrokenMemory(h.card.state)
        super().__init__(SimCard(h.card.state, rng=FixedRandom(), store=self._memory))

    def __call__(self, command: str) -> str:
        self._memory.is_broken = int(command[2:4], 16) == self._ins
        return super().__call__(command)


def without(h: Host, df: str, kinds: set[KeyType], kid: int) -> Host:
    """A card that was initialised without this key."""
    keys = df_of(h.card.state, df).keys
    keys[:] = [key for key in keys if key.type not in kinds or key.kid != kid]
    return h


def send_all(h: Host, *commands: str) -> str:
    """The answer to the last of several commands."""
    return [h(command) for command in commands][-1]


def authenticated(h: Host, kid: int, df: str = "SSSE") -> Host:
    enter(h, df)
    assert h.authenticate(kid, df) == "9000"
    return h
