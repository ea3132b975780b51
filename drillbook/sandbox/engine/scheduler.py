"""Continuous batching as vLLM 0.32 does it: every step runs each running sequence once and admits waiting ones.

A step has a budget of tokens (``--max-num-batched-tokens``), and prompts are cut to fit into it: a long one is computed
over several steps, in each of which all that decode go on (chunked prefill). A step is as long as its tokens make it:
the budget is what bounds how long others wait for their next token. Running sequences come first; new ones are admitted
in order while sequences, budget and KV blocks allow, and only where their whole input finds room. When a running
sequence needs a block and none is free, the latest admitted one is preempted: it loses its blocks, goes to the head of
the queue and is recomputed from its first token (``vllm:num_preemptions_total``). In such a step none is admitted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from drillbook.sandbox.engine.kv_cache import KVCache
from drillbook.sandbox.engine.wire import Output, Stats, Submit


@dataclass
class Sequence:
    """One request's generation."""

    id: str
    prompt: int
    limit: int
    natural: int
    produced: int = 0
    computed: int = 0
    scheduled_at: float = 0.0
    preemptions: int = 0

    @property
    def known(self) -> int:
        """Tokens whose KV a finished step will hold: the prompt and all that was produced."""
        return self.prompt + self.produced

    @property
    def finish(self) -> str:
        """Why it ends here: ``length``, ``stop``, or empty while it goes on."""
        if self.produced >= self.natural:
            return "stop"
        return "length" if self.produced >= self.limit else ""


@dataclass
class Batch:
    """One step's work: how many tokens of each sequence."""

    parts: list[tuple[Sequence, int]] = field(default_factory=list)
    preempted: int = 0

    @property
    def tokens(self) -> int:
        return sum(count for _, count in self.parts)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of prompts, those recomputed after a preemption included."""
        return sum(count for sequence, count in self.parts if sequence.computed + 1 < sequence.known)


@dataclass(frozen=True)
class Limits:
    """vLLM's flags that bound a step."""

    sequences: int
    """``--max-num-seqs``."""
    tokens: int
    """``--max-num-batched-tokens``."""
    chunked: bool = True
    """``--enable-chunked-prefill``: without it a prompt waits for a step that has room for all of it."""
    long_prefill: int = 0
    """``--long-prefill-token-threshold``: most tokens of one prompt in a step, where others are there too; 0: all."""
    whole_input: bool = True
    """``--scheduler-reserve-full-isl``: admit a prompt only where all of it finds room, not only its first chunk."""


class Scheduler:
    """Waiting and running sequences, and what runs next."""

    def __init__(self, cache: KVCache, limits: Limits) -> None:
        self.cache = cache
        self.limits = limits
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.running)

    def add(self, request: Submit) -> None:
        self.waiting.append(Sequence(request.id, request.prompt, request.limit, request.natural))

    def ids(self) -> list[str]:
        """Every request that is here."""
        return [sequence.id for sequence in (*self.running, *self.waiting)]

    def abort(self, ids: list[str]) -> None:
        """Drop these requests; unknown ones (finished meanwhile) are no error."""
        gone = set(ids)
        for sequence in self.running:
            if sequence.id in gone:
                self.cache.release(sequence.id)
        self.running = [sequence for sequence in self.running if sequence.id not in gone]
        self.waiting = deque(sequence for sequence in self.waiting if sequence.id not in gone)

    def schedule(self, now: float) -> Batch:
        """Choose the next step's work. ``now``: monotonic seconds."""
        batch = Batch()
        budget = self.limits.tokens
        alone = len(self.running) + len(self.waiting) == 1
        most = budget if alone or not self.limits.long_prefill else self.limits.long_prefill
        index = 0
        while index < len(self.running) and budget:
            sequence = self.running[index]
            count = min(sequence.known - sequence.computed, most, budget)
            while not self.cache.grow(sequence.id, sequence.computed + count):
                victim = self.running.pop()
                self._preempt(victim)
                batch.preempted += 1
                if victim is sequence:
                    break
            else:
                batch.parts.append((sequence, count))
                budget -= count
                index += 1
        while self.waiting and budget and not batch.preempted and len(self.running) < self.limits.sequences:
            sequence = self.waiting[0]
            count = min(sequence.known, most)
            if count > budget and not self.limits.chunked:
                break
            count = min(count, budget)
            if self.limits.whole_input and not self.cache.fits(sequence.known):
                break
            if not self.cache.grow(sequence.id, count):
                break
            self.running.append(self.waiting.popleft())
            sequence.scheduled_at = sequence.scheduled_at or now
            batch.parts.append((sequence, count))
            budget -= count
        return batch

    def _preempt(self, sequence: Sequence) -> None:
        self.cache.release(sequence.id)
        sequence.computed = 0
        sequence.preemptions += 1
        self.waiting.appendleft(sequence)

    def advance(self, batch: Batch) -> list[Output]:
        """Record that ``batch`` ran: one new token for each sequence whose known tokens are all computed."""
        outputs = []
        for sequence, count in batch.parts:
            sequence.computed += count
            if sequence.computed < sequence.known:
                continue
            sequence.produced += 1
            outputs.append(Output(sequence.id, sequence.finish, sequence.scheduled_at, sequence.preemptions))
            if sequence.finish:
                self.cache.release(sequence.id)
                self.running.remove(sequence)
        return outputs

    def stats(self, batch: Batch) -> Stats:
        """What a step leaves behind, for the metrics."""
        return Stats(len(self.running), len(self.waiting), self.cache.usage, batch.tokens, batch.preempted)
