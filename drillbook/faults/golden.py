"""One fixed question, asked without chance: a model that answers it otherwise than before is not the model it was."""

from __future__ import annotations

from drillbook.errors import RefusedError
from drillbook.faults.fault import Bite
from drillbook.load.client import Client
from drillbook.model.request import Outcome, Stream
from drillbook.targets.target import Target

QUESTION = "What is the capital of France? Answer with one word."
TOKENS = 8
ASKED = 4
"""How often it is asked in one look: a router spreads requests over old and new replicas."""


async def ask(target: Target) -> str:
    """The answer as it is now.

    :raises RefusedError: there is none, or equal questions get different answers already.
    """
    answers = await _answers(target)
    if len(set(answers)) != 1 or not answers[0]:
        raise RefusedError(
            f"one question without chance (temperature 0) got the answers {sorted(set(answers))} before the fault",
            hint="garbage could not be told from them; use another `how`",
        )
    return answers[0]


async def differs(target: Target, before: str) -> Bite:
    """Whether any replica answers otherwise by now."""
    for answer in await _answers(target):
        if answer and answer != before:
            return Bite(True, f"the answer to {QUESTION!r} was {before!r} and is {answer!r}")
    return Bite(False, f"the answer to {QUESTION!r} is {before!r}, as before")


async def _answers(target: Target) -> list[str]:
    url, model = await target.endpoint(), await target.model()
    async with Client(url, model, timeout=20.0) as client:
        given = [await client.ask(QUESTION, stream_kind=Stream.VERIFY, output_tokens=TOKENS) for _ in range(ASKED)]
    return [answer.text if answer.record.outcome is Outcome.OK else "" for answer in given]
