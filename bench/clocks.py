"""How far are the clocks of a drill from what happened?  python bench/clocks.py

200 scripted outages, whose every moment is known: refusals, cut streams, errors inside a 200, stalls, one lost
request in three. In half of them an engine pod goes and its replacement becomes Ready some time before users are
served again; in the other half every pod stays Ready, as it does when an engine hangs. drillbook reads its clocks off
the requests; chaosk8s and krkn-lib, each in its own environment (``make ecosystem-env``) and through its own code,
off the same Kubernetes events, delivered at once and stamped with the moments at which a watch without any delay
would have had them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "support"))

TOOLS = {
    "chaosk8s": ("DRILLBOOK_CHAOSK8S_PYTHON", ".venv-chaosk8s"),
    "krkn": ("DRILLBOOK_KRKN_PYTHON", ".venv-krkn"),
}
POD_LOST, ALL_READY = "a pod was replaced", "every pod stayed Ready"


def outages(count: int, rate: float, seed: int) -> list[dict[str, Any]]:
    """``count`` outages, with what Kubernetes would have told of each."""
    import scripted

    chance = random.Random(seed)
    found = []
    for number in range(count):
        start, end = chance.uniform(0.3, 5.0), chance.uniform(8.0, 40.0)
        replaced = number % 2 == 0
        found.append(
            {
                "outage": scripted.Outage(
                    scripted.KINDS[number // 2 % len(scripted.KINDS)], start, end, chance.randrange(10**6), rate
                ),
                "kind": POD_LOST if replaced else ALL_READY,
                "deleting": start * chance.random(),
                "added": start + chance.uniform(0.0, 1.0),
                "ready": end - chance.uniform(0.1, 4.0),
                "replaced": replaced,
            }
        )
    return found


def ours(one: dict[str, Any]) -> dict[str, float]:
    """The error of each of drillbook's clocks, in seconds."""
    import histories
    import scripted

    from drillbook.model.experiment import SloSpec
    from drillbook.probes import clocks
    from drillbook.probes.suffering import breach

    outage = one["outage"]
    run = scripted.run(outage)
    if one["replaced"]:
        run.pod(one["deleting"], "e0", ready=False, deleting=True)
        run.pod(one["added"], "e0", ready=False, change="deleted")
        run.pod(one["added"], "e9", ready=False, change="added").pod(one["ready"], "e9")
    history = run.history
    read = clocks.read(history)
    begun = outage.start
    if outage.kind == "stalls and resumes":  # users see nothing wrong before a bound of the SLO passes
        slo = SloSpec(ttft="500ms", e2e="2s")
        begun = min(at for each in history.requests if (at := breach(each, slo)) is not None) - histories.ZERO
    errors = {
        "effect (first harm of a user)": abs((read.effect.at or math.inf) - begun),
        "mitigation (first token of the service that lasts)": abs((read.mitigate.at or math.inf) - outage.end),
        "recovery (the same, and the capacity back)": abs((read.recover.at or math.inf) - outage.end),
    }
    if not one["replaced"]:
        green = sum(end - start for start, end in read.green_while_broken)
        errors["green while broken"] = abs(green - (outage.end - begun))
    return errors


def theirs(tool: str, every: list[dict[str, Any]]) -> dict[str, list[float | None]] | None:
    """What a tool tells of each outage, in seconds after the injection, by name of its figure; None where it is not."""
    variable, environment = TOOLS[tool]
    python = Path(os.environ.get(variable, HERE.parent / environment / "bin" / "python"))
    if not python.exists():
        return None
    told = [{key: value for key, value in one.items() if key != "outage"} for one in every]
    done = subprocess.run(
        [python, HERE / "clocks_of_others.py", tool],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def row(tool: str, clock: str, kind: str, errors: list[float | None]) -> str:
    known = sorted(error for error in errors if error is not None)
    if not known:
        return f"| {tool} | {clock} | {kind} | never told | | |"
    median, p95, most = (known[math.ceil(share * len(known)) - 1] for share in (0.5, 0.95, 1.0))
    untold = len(errors) - len(known)
    missing = f" ({untold} of {len(errors)} not told)" if untold else ""
    return f"| {tool} | {clock} | {kind}{missing} | {shown(median)} | {shown(p95)} | {shown(most)} |"


def shown(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outages", type=int, default=200)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    every = outages(options.outages, options.rate, options.seed)
    print("| tool | clock | outages | error, median | 95th percentile | most |\n|---|---|---|---|---|---|")
    read = [ours(one) for one in every]
    for clock in dict.fromkeys(name for one in read for name in one):
        for kind in (POD_LOST, ALL_READY):
            mine = [
                errors[clock] for errors, one in zip(read, every, strict=True) if one["kind"] == kind if clock in errors
            ]
            if mine:
                print(row("drillbook", clock, kind, mine))
    for tool in TOOLS:
        found = theirs(tool, every)
        if found is None:
            print(f"| {tool} | not here: make ecosystem-env | | | | |")
            continue
        for clock, told in found.items():
            for kind in (POD_LOST, ALL_READY):
                errors = [
                    None if moment is None else abs(moment - one["outage"].end)
                    for moment, one in zip(told, every, strict=True)
                    if one["kind"] == kind
                ]
                print(row(tool, clock, kind, errors))


if __name__ == "__main__":
    main()
