"""What does the sandbox cost?  python bench/sandbox.py [start] [idle] [replicas] [fleet]

Each part starts a sandbox of its own in a temporary folder, measures from outside (wall clock, /proc, wait4), prints
rows of a Markdown table and takes the sandbox down. Memory is the proportional set size: the pods share pages.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import aiohttp

HOME = tempfile.mkdtemp(prefix="drillbook-bench-")
os.environ["DRILLBOOK_HOME"] = HOME

from drillbook import clock  # noqa: E402  after DRILLBOOK_HOME is set
from drillbook.sandbox import fleet, lifecycle, processes  # noqa: E402

NAME = "bench"
DRILLBOOK = [str(Path(sys.executable).with_name("drillbook"))]
EXPERIMENT = """\
title: One of a fleet is killed
why: To plan over a fleet.
target: {stack: production-stack, namespace: fleet}
load: {rate: 1/s, prompts: chat, output-tokens: 8}
steady-state: [goodput >= 95%]
method:
  - {at: 0s, fault: pod-kill, role: engine, count: 3, grace: 0s, bites: ready-engines < 10000}
expect: [recovered within 90s of inject]
observe: 100s
playbook: replica-down
"""


def row(what: str, value: str, promise: str = "") -> None:
    print(f"| {what} | {value} | {promise} |", flush=True)


@dataclass
class Cost:
    """Of all processes of the sandbox together."""

    cpu: float
    memory: int
    count: int

    @classmethod
    def of(cls, folder: Path, memory: bool = True) -> Cost:
        cpu, size, count = 0.0, 0, 0
        for pid in processes.descendants(processes.marked(folder)):
            try:
                tasks = list(Path(f"/proc/{pid}/task").iterdir())
                cpu += sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
                if memory:
                    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                    size += next(int(line.split()[1]) for line in rows if line.startswith("Pss:"))
            except OSError:  # it ended meanwhile
                continue
            count += 1
        return cls(cpu, size, count)


def idle_percent(folder: Path, seconds: float) -> float:
    before, begun = Cost.of(folder, memory=False), clock.monotonic()
    while clock.monotonic() < begun + seconds:
        asyncio.run(asyncio.sleep(seconds / 10))
    return (Cost.of(folder, memory=False).cpu - before.cpu) / (clock.monotonic() - begun) * 100


def run(*command: str) -> tuple[str, str]:
    """What a command took, in words (wall time, its own processor time, peak resident memory), and its output."""
    begun = clock.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, output
    took, cpu = clock.monotonic() - begun, usage.ru_utime + usage.ru_stime
    return f"{took:.2f} s ({cpu:.2f} s of processor), {usage.ru_maxrss / 1024:.0f} MB", output


async def first_token(endpoint: str) -> None:
    body = {"model": "tiny-llama", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, "stream": True}
    async with aiohttp.ClientSession() as session, session.post(f"{endpoint}/v1/chat/completions", json=body) as answer:
        async for line in answer.content:
            if line.startswith(b"data:") and b'"content":"' in line and b'"content":""' not in line:
                return
    raise AssertionError("no token came")


def up(*options: str) -> lifecycle.Sandbox:
    run(*DRILLBOOK, "sandbox", "up", "--name", NAME, *options)
    found = lifecycle.find(NAME)
    assert found is not None
    return found


def start() -> None:
    taken = []
    for _ in range(5):
        begun = clock.monotonic()
        sandbox = up()
        asyncio.run(first_token(sandbox.endpoint))
        taken.append(clock.monotonic() - begun)
        asyncio.run(lifecycle.down(NAME))
    taken.sort()
    row(
        "`sandbox up` to the first token, three engines", f"{taken[2]:.1f} s ({taken[0]:.1f} to {taken[-1]:.1f})", "3 s"
    )


def idle() -> None:
    sandbox = up()
    asyncio.run(asyncio.sleep(15))
    percent = idle_percent(sandbox.state_dir, 45)
    cost = Cost.of(sandbox.state_dir)
    row("idle, three engines", f"{percent:.1f} % of a core", "2 %")
    row("memory, three engines", f"{cost.memory / 1024:.0f} MB in {cost.count} processes")


def replicas() -> None:
    begun = clock.monotonic()
    sandbox = up("--replicas", "200")
    asyncio.run(first_token(sandbox.endpoint))
    row("`sandbox up --replicas 200` to the first token", f"{clock.monotonic() - begun:.0f} s")
    cost = Cost.of(sandbox.state_dir)
    row("memory, 200 engines", f"{cost.memory / 1024:.0f} MB in {cost.count} processes")
    asyncio.run(asyncio.sleep(15))
    row("idle, 200 engines", f"{idle_percent(sandbox.state_dir, 30):.0f} % of a core")


def hollow() -> None:
    sandbox = up()
    begun = clock.monotonic()
    asyncio.run(fleet.resize(sandbox.api_url, 10_000))
    row("10,000 hollow pods, created until all are available", f"{clock.monotonic() - begun:.0f} s")
    row("memory, the whole sandbox with 10,000 hollow pods", f"{Cost.of(sandbox.state_dir).memory / 1024:.0f} MB")
    for what in ("list", "select", "watch"):
        whole, output = run(sys.executable, __file__, "client", what, str(sandbox.kubeconfig))
        row(f"10,000 hollow pods: {what}", f"{output.strip()}; process {whole}", "2 s, 300 MB")
    experiment = Path(HOME, "fleet.yaml")
    experiment.write_text(EXPERIMENT)
    whole, _ = run(*DRILLBOOK, "plan", str(experiment), "--kubeconfig", str(sandbox.kubeconfig))
    row("10,000 hollow pods: `drillbook plan`", f"process {whole}", "2 s, 300 MB")
    asyncio.run(asyncio.sleep(20))
    row("idle, 10,000 hollow pods", f"{idle_percent(sandbox.state_dir, 30):.1f} % of a core")


async def client(what: str, kubeconfig: str) -> None:
    from drillbook.targets.kube import Kube as Client

    path, count = f"/api/v1/namespaces/{fleet.NAMESPACE}/pods", 0
    async with await Client.from_kubeconfig(kubeconfig) as kube:
        await kube.list(path, labels="model=nobody")  # connected, and everything imported
        begun = clock.monotonic()
        if what == "watch":
            async for _ in kube.watch(path):
                count += 1
                if count == 10_000:
                    break
        else:
            count = len(await kube.list(path, labels="model=fleet" if what == "select" else ""))
        print(f"{clock.monotonic() - begun:.2f} s")
    assert count == 10_000, count


PARTS = {"start": start, "idle": idle, "replicas": replicas, "fleet": hollow}


def main() -> None:
    if sys.argv[1:2] == ["client"]:
        asyncio.run(client(*sys.argv[2:]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} when begun\n")
    print("| what | measured | promised |\n|---|---|---|")
    for part in parser.parse_args().parts or PARTS:
        try:
            PARTS[part]()
        finally:
            asyncio.run(lifecycle.down(NAME))


if __name__ == "__main__":
    main()
