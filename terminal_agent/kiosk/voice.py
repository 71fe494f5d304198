"""Sentences spoken by espeak-ng, where the browser has no voice. Only those of the word files: no data of anybody."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import OrderedDict
from typing import Final

from terminal_agent.kiosk.words import Lang, spoken

PROGRAM: Final = "espeak-ng"
VOICES: Final[dict[str, str]] = {"zh": "cmn", "en": "en"}
WORDS_PER_MINUTE: Final = {"zh": "150", "en": "145"}
SPEAK_S: Final = 10.0
MAX_WAV: Final = 2 * 1024 * 1024
KEPT: Final = 32
_RIFF: Final = b"RIFF"
LOG = logging.getLogger("terminal_agent.kiosk")


class Speaker:
    """Use from one event loop. One sentence is made at a time, and the last ones are kept."""

    def __init__(self, program: str = PROGRAM) -> None:
        self._program = shutil.which(program)
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._turn = asyncio.Lock()

    @property
    def is_there(self) -> bool:
        return self._program is not None

    async def wav(self, lang: Lang, index: int) -> bytes | None:
        """The sentence of that number in `spoken(lang)`; None where there is none, or no program that speaks."""
        sentences = spoken(lang)
        if self._program is None or not 0 <= index < len(sentences):
            return None
        async with self._turn:
            key = (lang, index)
            if key not in self._kept:
                made = await self._make(self._program, lang, sentences[index])
                if made is None:
                    return None
                self._kept[key] = made
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    async def _make(self, program: str, lang: Lang, sentence: str) -> bytes | None:
        arguments = ("-v", VOICES[lang], "-s", WORDS_PER_MINUTE[lang], "--stdout", "--stdin")
        try:
            process = await asyncio.create_subprocess_exec(
                program, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            LOG.warning("%s did not start: %s", PROGRAM, error.strerror)
            return None
        try:
            made, _ = await asyncio.wait_for(process.communicate(sentence.encode()), SPEAK_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            LOG.warning("%s took too long", PROGRAM)
            return None
        if process.returncode != 0 or not made.startswith(_RIFF) or len(made) > MAX_WAV:
            LOG.warning("%s made no sound", PROGRAM)
            return None
        return sized(made)


def sized(wav: bytes) -> bytes:
    """With the true lengths: written to a pipe, a file's head says the largest there is, which browsers refuse."""
    data = wav.find(b"data", 12)
    if data < 0:
        return wav
    begin = data + 8
    lengths = [(len(wav) - 8).to_bytes(4, "little"), (len(wav) - begin).to_bytes(4, "little")]
    return wav[:4] + lengths[0] + wav[8 : data + 4] + lengths[1] + wav[begin:]
