"""``drillbook recover`` as people run it: other processes than the run's, with what is left to go by."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys

import control_plane as planes
from doomed import Runner

from drillbook.targets.kube import Kube
from drillbook.undo.record import find_records


async def test_exit_5_while_the_api_server_is_gone_and_then_two_at_once_mend_it_from_its_record_alone(
    own_plane, tmp_path
):
    runs = tmp_path / "runs"

    async def recover(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "drillbook", "recover", "--kubeconfig", str(own_plane.kubeconfig)]
        process = await asyncio.create_subprocess_exec(
            *command, "--namespace", planes.NAMESPACE, "--runs", str(runs), *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async with await Kube.from_kubeconfig(own_plane.kubeconfig) as kube:
        await planes.make_namespace(kube)
        folder = runs / "experiment" / "time"
        folder.mkdir(parents=True)
        runner = Runner(kube, planes.NAMESPACE, folder)
        await runner.start(own_plane, heartbeat=1.0)
        os.kill(runner.watchdog, signal.SIGKILL)
        await runner.kill()
        await asyncio.to_thread(own_plane.kill)
        code, told = await recover()
        assert code == 5, told
        assert "whether anything is left cannot be seen" in told
        assert "Traceback" not in told
        await asyncio.to_thread(own_plane.start)
        assert await runner.field() == "new"
        code, told = await recover("--list")
        assert (code, "1 of 1 fault(s) to be undone" in told) == (5, True), told
        shutil.rmtree(runs)
        results = await asyncio.gather(recover(), recover())
        assert [code for code, _ in results] == [0, 0], results
        assert any("0-first undone" in told for _, told in results), results
        assert await runner.field() == "old"
        assert await find_records(kube, [planes.NAMESPACE]) == []
        code, told = await recover()
        assert (code, "nothing to undo" in told) == (0, True), told
