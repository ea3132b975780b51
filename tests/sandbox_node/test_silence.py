from __future__ import annotations

from typing import Any

from drillbook.sandbox.config import NodeConfig, SandboxConfig
from drillbook.sandbox.node.machine import SILENT, Machine


class Said:
    """An API whose watch says these things, and ends."""

    def __init__(self, *said: tuple[str, Any]) -> None:
        self._said = said

    async def watch(self, path: str, **_: str):
        for each in self._said:
            yield each


def node(**annotations: str) -> dict[str, Any]:
    return {"metadata": {"name": "gpu-node-a", "annotations": annotations}}


def machine(*said: tuple[str, Any]) -> tuple[Machine, list[str]]:
    config = SandboxConfig(
        name="x", engine="sim", state_dir="/nowhere", api_port=1, network="10.208.0.0/20", bridged=False,
        nodes=(NodeConfig(name="gpu-node-a", gpus=8),),
    )  # fmt: skip
    made = Machine(config, 0, 1, Said(*said), None)
    told: list[str] = []
    made.on_speak = lambda: told.append("speaks")
    return made, told


async def test_a_kubelet_is_silent_while_its_node_says_so_and_catches_up_once_after_it():
    made, told = machine(("SYNCED", {"items": [node(**{SILENT: "stopped"})]}))
    await made.obey()
    assert not made.speaking.is_set()
    made, told = machine(
        ("SYNCED", {"items": [node(**{SILENT: "stopped"})]}), ("MODIFIED", node()), ("MODIFIED", node(other="1"))
    )
    await made.obey()
    assert made.speaking.is_set()
    assert told == ["speaks"]


async def test_other_annotations_silence_nobody():
    made, told = machine(("SYNCED", {"items": [node(**{SILENT: "running"})]}), ("MODIFIED", node()))
    await made.obey()
    assert made.speaking.is_set()
    assert told == []
