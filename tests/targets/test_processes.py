"""The script itself is run by real shells on real processes of this machine; exec is what the sandbox's tests add."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from drillbook.errors import RefusedError, UnsupportedError
from drillbook.model.undo import ObjectRef, ProcessRef
from drillbook.targets import processes
from drillbook.targets.podexec import ExecResult

POD = ObjectRef(api_version="v1", kind="Pod", plural="pods", namespace="llm", name="engine-0", uid="u")
SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox"]) if shutil.which(shell[0])]


class Here:
    """In the place of ``Kube``: exec runs the very argv on this machine, with the shell under test."""

    def __init__(self, shell: list[str], environment: dict[str, str] | None = None) -> None:
        self.shell, self.environment = shell, environment

    async def exec(self, namespace, pod, container, argv, *, stdin=None, timeout=10.0):
        shell = [*self.shell, "sh"] if self.shell == ["busybox"] else self.shell
        done = subprocess.run(
            [*shell, *argv[1:]], capture_output=True, text=True, env=self.environment, errors="replace"
        )
        return ExecResult(done.stdout, done.stderr, done.returncode)


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def here(request):
    return Here(request.param)


@pytest.fixture
def titled():
    """A process with vLLM's title, and one with brackets, blanks and a closing parenthesis in its name."""
    program = "import sys, time, setproctitle as s; s.setproctitle(sys.argv[1]); print(1, flush=True); time.sleep(60)"
    started = []

    def start(title: str) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", program, title], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        started.append(process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        process.stdout.close()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0]


async def test_processes_are_listed_with_start_time_state_and_title(here, titled):
    process = titled("VLLM::EngineCore")
    found = [each for each in await processes.look(here, POD, "vllm") if each.ref.pid == process.pid]
    start = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()[19])
    assert found == [processes.Process(ProcessRef(pid=process.pid, start_time=start, title="VLLM::EngineCore"), "S")]


async def test_a_title_with_brackets_and_blanks_is_read_whole(here, titled):
    process = titled("odd) R 1 2 (name *")
    found = await processes.look(here, POD, "vllm")
    assert [each.ref.title for each in found if each.ref.pid == process.pid] == ["odd) R 1 2 (name *"]


async def test_no_external_program_is_needed(titled):
    shell = shutil.which("dash")
    assert shell
    process = titled("VLLM::EngineCore")
    found = await processes.look(Here([shell], {"PATH": "/nonexistent"}), POD, "vllm")
    assert process.pid in {each.ref.pid for each in found}


async def test_a_process_is_stopped_and_let_go_on(here, titled):
    process = titled("VLLM::EngineCore")
    (found,) = [each for each in await processes.look(here, POD, "vllm") if each.ref.pid == process.pid]
    after = await processes.signal(here, POD, "vllm", (found.ref,), "STOP")
    assert processes.find(after, found.ref).stopped
    assert state_of(process.pid) == "T"
    await processes.signal(here, POD, "vllm", (found.ref,), "CONT")
    assert state_of(process.pid) == "S"


async def test_a_namesake_with_the_same_pid_is_never_signalled(here, titled):
    process = titled("VLLM::EngineCore")
    (found,) = [each for each in await processes.look(here, POD, "vllm") if each.ref.pid == process.pid]
    earlier = ProcessRef(pid=process.pid, start_time=found.ref.start_time - 1, title=found.ref.title)
    await processes.signal(here, POD, "vllm", (earlier,), "STOP")
    assert state_of(process.pid) == "S"


async def test_process_one_and_groups_are_never_signalled(here):
    refs = tuple(ProcessRef(pid=pid, start_time=0, title="x") for pid in (1, 0, -1, -os.getpgrp()))
    result = await here.exec(
        "", "", "", ("sh", "-c", processes._SCRIPT, "drillbook", "STOP", *(f"{r.pid}:0" for r in refs))
    )
    assert [line for line in result.stdout.splitlines() if line.startswith(("sent", "denied"))] == []


async def test_a_denied_signal_is_a_refusal(titled):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to be somebody else")
    process = titled("VLLM::EngineCore")
    nobody = Here(["setpriv", "--reuid=65534", "dash"])
    (found,) = [each for each in await processes.look(nobody, POD, "vllm") if each.ref.pid == process.pid]
    with pytest.raises(RefusedError, match="denied"):
        await processes.signal(nobody, POD, "vllm", (found.ref,), "STOP")
    assert state_of(process.pid) == "S"


async def test_a_container_without_a_shell_is_unsupported():
    class NoShell:
        async def exec(self, *_, **__):
            return ExecResult("", "sh: not found", 127)

    with pytest.raises(UnsupportedError, match="shell"):
        await processes.look(NoShell(), POD, "vllm")


def test_a_title_also_means_its_ranks_but_not_its_likes():
    def process(title: str, state: str = "S") -> processes.Process:
        return processes.Process(ProcessRef(pid=2, start_time=1, title=title), state)

    there = (
        process("VLLM::Worker_TP0"),
        process("VLLM::Worker"),
        process("VLLM::Workers"),
        process("VLLM::Worker", "Z"),
    )
    assert [each.ref.title for each in processes.titled(there, "VLLM::Worker")] == ["VLLM::Worker_TP0", "VLLM::Worker"]
    assert [each.ref.title for each in processes.titled(there, "VLLM::Worker_TP0")] == ["VLLM::Worker_TP0"]
