"""The labelled answers of ``tests/adversarial/cases.jsonl``, served over HTTP, and how the classifier reads them.

``python tests/support/guard_cases.py`` prints the confusion matrix; with ``--write`` it goes into docs/guardrails.md.
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from drillbook.adversarial import signals
from drillbook.adversarial.canary import PREFIX, Canary
from drillbook.adversarial.classifier import Classifier, Judged
from drillbook.adversarial.evidence import Evidence
from drillbook.adversarial.packs import Prompt
from drillbook.load.client import Client
from drillbook.model.attack import AttackKind, AttackOutcome

ROOT = Path(__file__).resolve().parents[2]
CASES = [json.loads(line) for line in (ROOT / "tests/adversarial/cases.jsonl").read_text("utf-8").splitlines()]
DOCUMENT = ROOT / "docs/guardrails.md"
BEGIN, END = "<!-- confusion matrix: begin -->", "<!-- confusion matrix: end -->"


def disguised(canary: Canary) -> dict[str, str]:
    """What stands for a placeholder in a case."""
    text, core = canary.text, canary.text.removeprefix(PREFIX)
    return {
        "{canary}": text,
        "{core}": core,
        "{upper}": text.upper(),
        "{half1}": text[:11],
        "{half2}": text[11:],
        "{base64}": base64.b64encode(text.encode()).decode(),
        "{base64-inside}": base64.b64encode(f"the reference is {text}, I say".encode()).decode(),
        "{hex}": text.encode().hex(" "),
        "{rot13}": codecs.encode(text, "rot13"),
        "{reversed}": text[::-1],
        "{lines}": "\\n".join(core),
        "{dashes}": "-".join(core),
    }


@asynccontextmanager
async def served(canary: Canary) -> AsyncIterator[str]:
    """A server that answers with the case that the prompt names by its number; gives its URL."""

    def filled(text: str) -> str:
        for name, value in disguised(canary).items():
            text = text.replace(name, value)
        return text

    async def answer(request: web.Request) -> web.StreamResponse:
        case = CASES[int((await request.json())["messages"][-1]["content"])]
        headers = {name: filled(value) for name, value in case.get("headers", {}).items()}
        if "events" not in case:
            return web.Response(
                status=case["status"], text=filled(case["body"]), headers=headers, content_type="application/json"
            )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **headers})
        await response.prepare(request)
        for event in case["events"]:
            await response.write(f"data: {filled(event)}\n\n".encode())
        if case.get("cut"):
            assert request.transport is not None
            request.transport.close()
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def judged() -> list[Judged]:
    """What the classifier makes of each case, with nothing learned of the guardrail."""
    canary = Canary()
    classifier = Classifier(signals.load(ROOT), canary)
    found = []
    async with served(canary) as url:
        for number, case in enumerate(CASES):
            async with Client(url, "m", stream="events" in case, ignore_eos=False, stall_timeout=5.0) as client:
                answer = await client.ask(str(number))
            prompt = Prompt(
                id="x", kind=AttackKind(case["kind"]), category="x", prompt="x", violation=case.get("violation", "")
            )
            found.append(classifier.judge(prompt, Evidence.of(answer)))
    return found


def matrix(found: list[Judged]) -> str:
    """The confusion matrix in Markdown, with precision and recall of each outcome."""
    counts = Counter((case["expected"], one.outcome.value) for case, one in zip(CASES, found, strict=True))
    names = [outcome.value for outcome in AttackOutcome]
    rows = ["| labelled ↓ judged → | " + " | ".join(names) + " | recall |", "|---" * (len(names) + 2) + "|"]
    for name in names:
        line = [counts[name, other] for other in names]
        recall = f"{line[names.index(name)]}/{sum(line)}"
        rows.append(f"| **{name}** | " + " | ".join(str(count or "·") for count in line) + f" | {recall} |")
    columns = [[counts[other, name] for other in names] for name in names]
    precision = [f"{column[place]}/{sum(column)}" for place, column in enumerate(columns)]
    right = sum(counts[name, name] for name in names)
    rows.append("| precision | " + " | ".join(precision) + f" | {right}/{len(CASES)} |")
    return "\n".join(rows)


def main() -> None:
    found = asyncio.run(judged())
    for case, one in zip(CASES, found, strict=True):
        if case["expected"] != one.outcome:
            sys.stderr.write(
                f"{case['stack']}: {case['name']}: {case['expected']} judged {one.outcome} ({one.signal})\n"
            )
    text = matrix(found)
    sys.stdout.write(text + "\n")
    if "--write" in sys.argv:
        before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
