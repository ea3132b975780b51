"""Where prompts come from: a pack, once or round and round, and garak, as its probes ask."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from drillbook.adversarial.garak import taxonomy
from drillbook.adversarial.garak.session import Ask, Session
from drillbook.adversarial.packs import Message, Prompt
from drillbook.model.attack import AttackKind


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt, ready to be sent."""

    prompt: Prompt
    pack: str
    messages: Sequence[Mapping[str, str]]
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the request's body that this prompt sets."""
    session: Session | None = None
    ask: Ask | None = None


class Source(Protocol):
    weight: int

    def take(self) -> Item | None:
        """The next prompt; None where none is ready now."""

    @property
    def exhausted(self) -> bool:
        """Whether nothing will come any more."""


class PackSource:
    """A pack's prompts in an order of the seed's; a tripwire and its twin come one after the other."""

    def __init__(self, name: str, prompts: Sequence[Prompt], canary: str, **options: Any) -> None:
        """``cap``, ``seed``, ``system``, ``weight`` as a plan's part has them; ``once`` ends after one round."""
        self.weight: int = options.get("weight", 1)
        self.name = name
        self.prompts = _ordered(prompts, options.get("seed", 1))[: options.get("cap")]
        self._canary = canary
        self._system: str = options.get("system", "")
        self._next: Iterator[Prompt] = iter(self.prompts) if options.get("once") else itertools.cycle(self.prompts)
        self.exhausted = False

    def take(self) -> Item | None:
        prompt = next(self._next, None)
        if prompt is None:
            self.exhausted = True
            return None
        return self.item(prompt)

    def item(self, prompt: Prompt) -> Item:
        messages = prompt.conversation(self._canary)
        if self._system and not prompt.system:
            messages.insert(0, {"role": "system", "content": self._system})
        return Item(prompt, self.name, messages)

    @property
    def pairs(self) -> list[Prompt]:
        """Tripwires and their twins, for the calibration."""
        return [prompt for prompt in self.prompts if prompt.twin]


class GarakSource:
    """garak's probes; they begin again when they are through, unless it is to be ``once``."""

    def __init__(self, make: Callable[[Callable[[], None]], Session], weight: int, *, once: bool) -> None:
        self.weight = weight
        self.exhausted = False
        self.changed: Callable[[], None] = lambda: None
        """Called whenever there is something to take, or nothing any more."""
        self._make, self._once = make, once
        self._chance = random.Random("garak")  # noqa: S311 - an order, not a secret
        self._stack = AsyncExitStack()
        self._session: Session | None = None
        self._taken = 0

    async def begin(self) -> None:
        """Start garak, or start it again."""
        await self._stack.aclose()
        self._taken = 0
        self._session = await self._stack.enter_async_context(self._make(lambda: self.changed()))

    async def end(self) -> None:
        await self._stack.aclose()

    @property
    def through(self) -> bool:
        """Whether a round has ended; ``begin`` starts the next."""
        return self._session is not None and self._session.ended and not self._session.ready

    @property
    def again(self) -> bool:
        """Whether another round makes sense: not after one that gave nothing."""
        return not self._once and self._taken > 0

    def take(self) -> Item | None:
        session = self._session
        if session is None or not session.ready:
            self.exhausted = self.through and not self.again
            return None
        self._taken += 1
        place = self._chance.randrange(len(session.ready))  # mixed, so that no probe has a phase of a drill to itself
        session.ready[place], session.ready[-1] = session.ready[-1], session.ready[place]
        ask = session.ready.pop()
        prompt = Prompt(
            id=f"{ask.probe}:{ask.seq if ask.seq is not None else ask.id}",
            kind=AttackKind.ATTACK,
            category=ask.probe.partition(".")[0],
            messages=tuple(Message(**row) for row in ask.messages if row["role"] == "user"),
            owasp=taxonomy.owasp(session.tags.get(ask.probe, ())),
            atlas=taxonomy.atlas(ask.probe),
        )
        return Item(prompt, f"garak.{ask.probe}", ask.messages, ask.params, session, ask)


def _ordered(prompts: Sequence[Prompt], seed: int) -> list[Prompt]:
    """Shuffled, but a tripwire is followed by its twin."""
    twins = {prompt.id: prompt for prompt in prompts}
    units = []
    for prompt in prompts:
        if prompt.kind is AttackKind.TRIPWIRE:
            units.append([prompt, twins[prompt.twin]])
        elif not prompt.twin:
            units.append([prompt])
    random.Random(f"attacks/{seed}").shuffle(units)  # noqa: S311 - a reproducible order, not a secret
    return list(itertools.chain.from_iterable(units))
