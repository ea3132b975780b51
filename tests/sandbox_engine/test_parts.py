"""The small parts: settings, messages, metrics, the ring, and the tiny model's files."""

from __future__ import annotations

import json
import struct
import threading
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drillbook.errors import UsageError
from drillbook.sandbox import tiny_model
from drillbook.sandbox.engine import arguments, wire
from drillbook.sandbox.engine.metrics import Registry
from drillbook.sandbox.engine.ring import Ring
from drillbook.sandbox.engine.series import one_two_five
from drillbook.sandbox.engine.settings import Settings


def test_settings_are_read_in_any_unit() -> None:
    read = Settings.of({"SIM_ENGINE": "step=8ms,prefill=500us worker-grace=0.1m load=2 seed=7"})
    assert (read.step, read.prefill, read.worker_grace, read.load, read.seed) == (0.008, 0.0005, 6.0, 2.0, 7)


@pytest.mark.parametrize("text", ["pace=1s", "step=1h", "seed=1.5", "step", "step=-1s"])
def test_a_wrong_setting_says_what_is_allowed(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings.of({"SIM_ENGINE": text})
    assert text.partition("=")[0] in str(caught.value)


def test_the_failure_times_are_those_that_were_recorded(recorded: Path) -> None:
    def turned(name: str, status: int | str) -> float:
        health = json.loads((recorded / f"{name}.json").read_text())["health"]
        return next(float(time) for time, seen in health if seen == status)

    default = Settings()
    assert turned("tp2-worker-kill", 503) == pytest.approx(default.worker_grace + default.worker_term, abs=0.7)
    assert turned("worker-term", 503) == pytest.approx(default.leave, abs=0.5)
    assert turned("engine-term", 503) == pytest.approx(default.leave + default.linger, abs=1.2)
    assert turned("engine-kill-streams", "refused") <= default.watchdog
    assert turned("engine-kill-idle", 503) == pytest.approx(default.notice, abs=0.05)


def test_every_setting_says_what_it_is() -> None:
    text = Path(arguments.__file__).with_name("settings.py").read_text()
    for field in fields(Settings):
        assert f"    {field.name}: " in text


@given(st.lists(st.binary(max_size=40).map(bytes.hex), max_size=8), st.integers(1, 30))
def test_messages_survive_however_the_stream_is_cut(names: list[str], size: int) -> None:
    messages: list[wire.Message] = [wire.Submit(name, 1, 2, 3) for name in names]
    stream = b"".join(map(wire.pack, messages))
    unpacker = wire.Unpacker()
    parts = (stream[start : start + size] for start in range(0, len(stream), size))
    assert [message for part in parts for message in unpacker.feed(part)] == messages


def test_a_histogram_counts_up_to_each_bound() -> None:
    registry = Registry()
    series = registry.histogram("h", "Help.", {"b": "2", "a": "1"}, (1, 5))
    for value in (1, 3, 9):
        series.observe(value)
    rows = [row for row in registry.text().splitlines() if not row.startswith("#")]
    assert rows[:5] == [
        'h_bucket{a="1",b="2",le="1.0"} 1.0',
        'h_bucket{a="1",b="2",le="5.0"} 2.0',
        'h_bucket{a="1",b="2",le="+Inf"} 3.0',
        'h_count{a="1",b="2"} 3.0',
        'h_sum{a="1",b="2"} 13.0',
    ]


def test_token_buckets_go_up_to_the_models_length() -> None:
    assert one_two_five(1024) == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]


@pytest.mark.parametrize("world", [2, 3])
def test_the_ring_moves_more_bytes_than_sockets_hold_without_locking_up(world: int) -> None:
    rings = [Ring("127.0.0.1") for _ in range(world)]
    done: list[bool] = []

    def rank(number: int) -> None:
        rings[number].join(*rings[(number + 1) % world].address, world)
        done.extend(rings[number].all_reduce(20_000_000) for _ in range(2))

    threads = [threading.Thread(target=rank, args=[number]) for number in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for ring in rings:
        ring.close()
    assert done == [True] * (2 * world)


def test_the_command_line_is_vllms() -> None:
    given = arguments.parse(["serve", "org/model", "-tp=2", "--max_model_len", "4k", "--dtype", "auto", "--headless"])
    assert (given.model, given.served, given.tensor_parallel_size, given.max_model_len) == (
        "org/model",
        ["org/model"],
        2,
        4000,
    )
    assert given.ignored == ["--dtype"]


def test_the_tiny_models_files_agree_with_each_other(tmp_path: Path) -> None:
    folder = tiny_model.write(tmp_path / "tiny", max_position=512)
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    data = (folder / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__")
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(data) - 8 - size
    assert header["lm_head.weight"]["shape"] == [config["vocab_size"], config["hidden_size"]]
    assert len(header) == 3 + 9 * config["num_hidden_layers"]
    assert len(tokenizer["model"]["vocab"]) + len(tokenizer["added_tokens"]) <= config["vocab_size"]
    assert arguments.own_length(str(folder)) == 512


def test_the_tiny_model_keeps_its_end_of_sequence_out_of_reach() -> None:
    assert tiny_model.head_bias(257) < -10 < tiny_model.head_bias(ord("e")) < 0
    assert tiny_model.head_bias(7) < -10
