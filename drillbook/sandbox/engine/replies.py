"""What ``sim`` answers: the words of one answer, the same for the same prompt and seed.

This is the seam for behaviours: whatever decides what an answer says belongs here, and sees the whole conversation.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence

from drillbook.sandbox.engine.conversation import Turn
from drillbook.sandbox.engine.obedience import obeyed

WORDS = """
    the a of to and in is it that as for with on at by from or be are was this which when each all one can has had
    not but what there we other use how their if will up about out many then them these so some would into more two
    like time look write go see number way people than first water been call who its now find long down day did get
    come made may part over new sound take only little work know place year live back give most very after thing our
    just name good sentence man think say great where help through much before line right too means old any same
    tell boy follow came want show also around form three small set put end does another well large must big even
    such because
""".split()  # noqa: SIM905 -- 130 words, one a line, would be no easier to read
SHORTEST, LONGEST = 24, 160
"""Bounds of an answer's natural length, in tokens."""

TOKEN = re.compile(r"\s?\w{1,12}|[^\w\s]|\s")


def tokens(text: str) -> list[str]:
    """Cut a text into what counts as a token: a word with the space before it, a mark, a lone space."""
    return TOKEN.findall(text)


class Reply:
    """One answer: its natural length, and its tokens' text, which goes on for as long as it is asked for.

    First comes what the model was asked to say, where it obeys; all else is words.
    """

    def __init__(self, turns: Sequence[Turn], seed: int) -> None:
        prompt = "\n".join(f"{turn.role}: {turn.text}" for turn in turns)
        self._random = random.Random(zlib.crc32(prompt.encode()) ^ seed)  # noqa: S311 -- repeatable, not secret
        self._told = tokens(obeyed(turns))[::-1]
        self.natural = len(self._told) or self._random.randint(SHORTEST, LONGEST)
        self._space = ""
        self._fresh = True

    def token(self) -> str:
        """The next token's text."""
        if self._told:
            self._space = " "
            return self._told.pop()
        word = self._random.choice(WORDS)
        text = self._space + (word.capitalize() if self._fresh else word)
        self._space = " "
        self._fresh = self._random.random() < 0.08
        return text + "." if self._fresh else text
