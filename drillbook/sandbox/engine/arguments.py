"""``vllm serve``'s command line: what ``sim`` acts on, what it takes and ignores, what it refuses."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

PROMPT_LIMIT = 8192
"""The model's length where neither a flag nor the model's own ``config.json`` gives one."""

KNOWN = [
    line.split() for line in (files(__package__) / "vllm_flags.txt").read_text("utf-8").splitlines() if line[0] != "#"
]


def parser() -> argparse.ArgumentParser:
    """The options of vLLM. Those that ``sim`` has no use for go to ``ignored_…``."""
    made = argparse.ArgumentParser(prog="vllm serve", allow_abbrev=False, description="sim: a stand-in for vLLM 0.32")
    add = made.add_argument
    add(
        "positional",
        nargs="*",
        metavar="model",
        help="the model's name or folder, as vLLM takes it ('serve' may stand before)",
    )
    add("--model", default="Qwen/Qwen3-0.6B", help="the same, as an option")
    add("--served-model-name", nargs="+", default=None, help="names that requests may use; the first is in the metrics")
    add("--host", default="", help="address to listen on (default: all)")
    add("--port", type=int, default=8000, help="port to listen on")
    add("--tensor-parallel-size", "-tp", type=int, default=1, help="worker processes")
    add("--pipeline-parallel-size", "-pp", type=int, default=1, help="stages that the layers are cut into")
    add("--max-model-len", type=length, default=None, help="longest prompt and answer together, in tokens; 1k is 1000")
    add("--max-num-seqs", type=length, default=256, help="requests that run together")
    add("--max-num-batched-tokens", type=length, default=2048, help="tokens of one step")
    switch = argparse.BooleanOptionalAction
    add("--enable-chunked-prefill", action=switch, default=True, help="cut prompts to the tokens of a step")
    add("--long-prefill-token-threshold", type=length, default=0, help="most tokens of one prompt in a step")
    add("--scheduler-reserve-full-isl", action=switch, default=True, help="admit only what finds room as a whole")
    add("--max-num-queued-reqs", type=length, default=None, help="requests taken at once, waiting and running")
    add("--max-num-queued-tokens", type=length, default=None, help="prompt tokens taken that have no answer yet")
    add("--block-size", type=int, default=16, help="tokens of one KV cache block")
    add("--num-gpu-blocks-override", type=int, default=4096, help="KV cache blocks")
    add("--gpu-memory-utilization", type=float, default=0.92, help="only shown in the metrics")
    add("--load-format", default="auto", help="with 'dummy' (random weights) equal questions get other words")
    add("--shutdown-timeout", type=int, default=0, help="seconds to finish requests in after SIGTERM")
    add("--enable-request-id-headers", action="store_true", help="answer with X-Request-Id")
    add("--disable-uvicorn-access-log", action="store_true", help="do not log each request")
    add("--disable-log-stats", action="store_true", help="no metrics of the engine, no statistics in the log")
    add("--nnodes", type=int, default=1, help="nodes that the workers are spread over")
    add("--node-rank", type=int, default=0, help="this node's place among them")
    add("--master-addr", default="127.0.0.1", help="the first node's address")
    add("--master-port", type=int, default=29501, help="the first node's port")
    add("--headless", action="store_true", help="no API server here: workers for another node's engine")
    ours = set(made._option_string_actions)  # noqa: SLF001 -- argparse has no other way to ask
    for values, *names in KNOWN:
        if ours.isdisjoint(names):
            shape = {"action": "store_true"} if values == "0" else {"nargs": None if values == "1" else values}
            add(*names, dest=f"ignored_{names[0]}", default=None, help=argparse.SUPPRESS, **shape)
    return made


def length(text: str) -> int:
    """A count as vLLM reads it: ``4096``, ``4k`` (4000), ``4K`` (4096)."""
    powers = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}
    if text and text[-1] in powers:
        return int(float(text[:-1]) * powers[text[-1]])
    return int(text)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line, without the program's name. Adds ``ignored``: the real options that have no effect here.

    Underscores in option names count as dashes, as in vLLM. A made-up option exits with 2, as there.
    """
    made = parser()
    given = made.parse_args([dashed(word) for word in argv])
    words = given.positional[1:] if given.positional[:1] == ["serve"] else given.positional
    if len(words) > 1:
        made.error(f"unrecognized arguments: {' '.join(words[1:])}")
    given.model = words[0] if words else given.model
    given.served = given.served_model_name or [given.model]
    given.max_model_len = given.max_model_len or own_length(given.model)
    world = given.tensor_parallel_size * given.pipeline_parallel_size
    if world < 1 or world % given.nnodes:
        made.error(f"{world} ranks (tensor times pipeline parallel size) do not divide among {given.nnodes} nodes")
    given.ignored = sorted(
        name.removeprefix("ignored_") for name, value in vars(given).items() if name.startswith("ignored_") and value
    )
    return given


def dashed(word: str) -> str:
    """``--max_model_len=8`` as ``--max-model-len=8``."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def own_length(model: str) -> int:
    """The length in the model folder's ``config.json``, where there is one."""
    try:
        config = json.loads((Path(model) / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return PROMPT_LIMIT
    found = config.get("max_position_embeddings") if isinstance(config, dict) else None
    return found if isinstance(found, int) else PROMPT_LIMIT
