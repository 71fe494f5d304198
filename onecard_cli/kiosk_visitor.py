"""Somebody at the kiosk's screen, as a browser without scripts is: reads pages, presses buttons of their forms."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final, Protocol, Self

import httpx

from cardlib.failures import FailureCode
from onecard_cli.output import CommandError

if TYPE_CHECKING:
    from simulators.kiosk_hands import KioskHands

PATIENCE_S: Final = 40.0
_LOOK_S: Final = 3.0


@dataclass(slots=True)
class Seen:
    """One screen of the kiosk: its name, what it says, what can be pressed and filled in."""

    name: str = ""
    number: str = ""
    revision: str = "0"
    title: str = ""
    text: str = ""
    acts: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen()
        self._words: list[str] = []
        self._title: list[str] | None = None
        self._is_inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "main":
            self._is_inside = True
            self.seen.name, self.seen.number = given.get("data-screen", ""), given.get("data-number", "")
            self.seen.revision = given.get("data-revision", "0")
        elif tag == "h1" and not self.seen.title:
            self._title = []
        elif tag == "button" and given.get("name") == "act":
            self.seen.acts.append(given.get("value", ""))
        elif tag == "input" and given.get("type") != "hidden":
            self.seen.fields.append(given.get("name", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "main":
            self._is_inside = False
        elif tag == "h1" and self._title is not None:
            self.seen.title, self._title = " ".join("".join(self._title).split()), None

    def handle_data(self, data: str) -> None:
        if self._title is not None:
            self._title.append(data)
        if self._is_inside:
            self._words.append(data)

    def read(self, html: str) -> Seen:
        self.feed(html)
        self.seen.text = " ".join(" ".join(self._words).split())
        return self.seen


class KioskVisitor:
    """A context manager. `url` is the kiosk's address; it may be gone for a while, and is then waited for."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"Origin": url}, timeout=30, trust_env=False)
        self.seen = Seen()
        self.way: list[str] = []
        """Names of the screens seen, in their order."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def look(self) -> Seen:
        page = self._http.get("/kiosk", follow_redirects=True).raise_for_status()
        self.seen = _Reader().read(page.text)
        if self.way[-1:] != [self.seen.name]:
            self.way.append(self.seen.name)
        return self.seen

    def start(self, flow: str) -> None:
        """From the home page, once it offers this."""
        act = f"start-{flow}"
        self._until(lambda seen: seen.name == "home" and act in seen.acts, f"the tile {flow}")
        self.press(act)

    def press(self, act: str, **fields: str) -> None:
        """A button of the present screen, until that is another one. Raises CommandError."""
        before = self.seen
        if act not in before.acts:
            raise CommandError(FailureCode.INTERNAL, f"screen {before.name}: no {act} among {before.acts}")
        answer = self._http.post("/kiosk/act", data={"screen": before.number, "act": act, **fields})
        if answer.is_error:
            answer.raise_for_status()
        self.gone(before.number)

    @property
    def number(self) -> str:
        return self.seen.number

    def gone(self, number: str) -> None:
        self._until(lambda seen: seen.number != number, f"what follows {self.seen.name}")

    def reach(self, *names: str) -> str:
        """The first of these screens to come. Raises CommandError TIMEOUT."""
        self._until(lambda seen: seen.name in names, f"the screen {' or '.join(names)}")
        return self.seen.name

    def _until(self, is_it: Callable[[Seen], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                if is_it(self.look()):
                    return
                self._http.get("/kiosk/changes", params={"seen": self.seen.revision}, timeout=_LOOK_S)
            except httpx.TransportError:  # the machine is off, or starts
                time.sleep(0.1)
        way = f"{' → '.join(self.way[-6:])} ({self.seen.title}: {self.seen.text[:120]})"
        raise CommandError(FailureCode.TIMEOUT, f"{what} did not come: {way}")


class Person(Protocol):
    """Who sees the kiosk's screens and presses: without scripts above, in a browser in the tests."""

    def reach(self, *names: str) -> str: ...

    def press(self, act: str, **fields: str) -> None: ...

    @property
    def number(self) -> str:
        """Of the screen that stands there."""
        ...

    def gone(self, number: str) -> None:
        """Waits until another screen than this stands there."""
        ...


Hand = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Reply:
    """To one screen: hands do something, then a button is pressed, with entries; without a button the screen goes by
    itself."""

    act: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    hand: Hand | None = None


Answer = str | Reply


def walk(person: Person, answers: Mapping[str, Answer | Sequence[Answer]], *until: str) -> str:
    """Answer screens by their names until one of `until` stands there, whose name it gives. Of several answers to a
    screen the next one is taken each time it comes, and the last one from then on."""
    came: Counter[str] = Counter()
    while (name := person.reach(*until, *answers)) not in until:
        given = answers[name]
        several = [given] if isinstance(given, str | Reply) else given
        answer = several[min(came[name], len(several) - 1)]
        came[name] += 1
        reply, number = Reply(answer) if isinstance(answer, str) else answer, person.number
        if reply.hand is not None:
            reply.hand()
        if reply.act:
            person.press(reply.act, **reply.fields)
        else:
            person.gone(number)
    return name


def with_id_card(hands: KioskHands, who: str) -> dict[str, Answer]:
    """Answers of somebody who shows the ID card, and takes it back."""
    return {
        "identify": "id_card",
        "lay_id_card": Reply(hand=lambda: hands.put_id_card(who)),
        "id_card_read": Reply("taken", hand=hands.take_id_card),
    }
