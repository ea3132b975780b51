"""The scheduler on its own: what runs in each step, and what happens when the KV cache is full."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from drillbook.sandbox.engine.kv_cache import KVCache
from drillbook.sandbox.engine.scheduler import Limits, Scheduler
from drillbook.sandbox.engine.wire import Submit


def scheduler(
    blocks: int = 64, *, block_size: int = 4, sequences: int = 8, tokens: int = 64, **limits: Any
) -> Scheduler:
    """``blocks`` are those that can be given out."""
    return Scheduler(KVCache(blocks + 1, block_size), Limits(sequences, tokens, **limits))


def step(of: Scheduler) -> list[tuple[str, str]]:
    return [(output.id, output.finish) for output in of.advance(of.schedule(0.0))]


def test_a_request_gets_its_first_token_from_the_step_that_ends_its_prefill() -> None:
    one = scheduler(tokens=8)
    one.add(Submit("a", prompt=20, limit=2, natural=99))
    assert [step(one) for _ in range(5)] == [[], [], [("a", "")], [("a", "length")], []]
    assert one.cache.usage == 0


def test_new_requests_join_the_running_batch_and_none_waits_for_its_end() -> None:
    one = scheduler()
    one.add(Submit("a", 4, 5, 99))
    step(one)
    one.add(Submit("b", 4, 2, 99))
    assert step(one) == [("a", ""), ("b", "")]
    assert step(one) == [("a", ""), ("b", "length")]


def test_no_more_run_than_max_num_seqs() -> None:
    one = scheduler(sequences=2)
    for name in "abc":
        one.add(Submit(name, 4, 2, 99))
    step(one)
    assert (len(one.running), len(one.waiting)) == (2, 1)
    step(one)
    assert step(one) == [("c", "")]


def test_an_answer_that_ends_by_itself_stops() -> None:
    one = scheduler()
    one.add(Submit("a", 4, 9, natural=2))
    assert [step(one), step(one)] == [[("a", "")], [("a", "stop")]]


def test_a_full_cache_preempts_the_latest_and_recomputes_it_from_its_first_token() -> None:
    one = scheduler(blocks=4)
    for name in "ab":
        one.add(Submit(name, 7, 6, 99))
    seen = [step(one), step(one)]
    batch = one.schedule(0.0)
    assert batch.preempted == 1
    assert [sequence.id for sequence, _ in batch.parts] == ["a"]
    assert [sequence.id for sequence in one.waiting] == ["b"]
    assert one.waiting[0].computed == 0
    one.advance(batch)
    while one.busy:
        seen.append(step(one))
    assert [output for outputs in seen for output in outputs if output[1]] == [("a", "length"), ("b", "length")]
    assert sum(1 for outputs in seen for name, _ in outputs if name == "b") == 6


def test_an_aborted_request_gives_its_blocks_back() -> None:
    one = scheduler()
    one.add(Submit("a", 8, 9, 99))
    step(one)
    one.abort(["a", "unknown"])
    assert (one.busy, one.cache.usage) == (False, 0)


def test_all_that_decode_go_on_in_each_step_of_a_long_prefill_and_no_step_exceeds_its_budget() -> None:
    one = scheduler(blocks=256, tokens=16)
    one.add(Submit("short", 4, 99, 99))
    step(one)
    one.add(Submit("long", 100, 2, 99))
    for _ in range(6):  # 15 tokens of the long prompt a step: it shares the 16 with the short one's next token
        batch = one.schedule(0.0)
        assert batch.tokens == 16
        assert one.advance(batch)[0].id == "short"
    assert step(one) == [("short", ""), ("long", "")]


def test_a_long_prefill_is_capped_where_others_are_there_too() -> None:
    one = scheduler(tokens=64, long_prefill=8)
    one.add(Submit("a", 40, 2, 99))
    assert one.schedule(0.0).tokens == 40  # alone it may have all
    one = scheduler(tokens=64, long_prefill=8)
    one.add(Submit("a", 40, 2, 99))
    one.add(Submit("b", 12, 2, 99))
    assert [count for _, count in one.schedule(0.0).parts] == [8, 8]


def test_without_chunks_a_prompt_waits_for_a_step_that_has_room_for_all_of_it() -> None:
    one = scheduler(tokens=16, chunked=False)
    one.add(Submit("a", 10, 2, 99))
    one.add(Submit("b", 10, 2, 99))
    one.add(Submit("c", 2, 2, 99))
    assert step(one) == [("a", "")]  # c is shorter, and does not overtake b
    assert step(one) == [("a", "length"), ("b", ""), ("c", "")]


def test_a_prompt_is_admitted_only_where_all_of_it_finds_room() -> None:
    for whole, admitted in ((True, 1), (False, 2)):
        one = scheduler(blocks=8, tokens=16, whole_input=whole)
        one.add(Submit("a", 8, 9, 99))
        one.add(Submit("b", 28, 2, 99))  # 7 blocks, of which 6 are free
        one.schedule(0.0)
        assert len(one.running) == admitted


def test_one_block_is_never_given_out() -> None:
    cache = KVCache(5, 4)
    assert cache.fits(16)
    assert not cache.fits(17)
    assert cache.grow("a", 8)
    assert cache.usage == 0.5


@given(
    requests=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 10), st.integers(1, 12)), min_size=1, max_size=12),
    blocks=st.integers(10, 30),
    sequences=st.integers(1, 5),
    tokens=st.integers(1, 40),
    long_prefill=st.integers(0, 12),
    whole_input=st.booleans(),
)
def test_every_request_gets_all_its_tokens_and_no_block_is_lost(
    requests: list[tuple[int, int, int]],
    blocks: int,
    sequences: int,
    tokens: int,
    long_prefill: int,
    whole_input: bool,
) -> None:
    one = scheduler(blocks, sequences=sequences, tokens=tokens, long_prefill=long_prefill, whole_input=whole_input)
    for number, (prompt, limit, natural) in enumerate(requests):
        one.add(Submit(str(number), prompt, limit, natural))
    made = dict.fromkeys(map(str, range(len(requests))), 0)
    for _ in range(10_000):
        if not one.busy:
            break
        batch = one.schedule(0.0)
        assert batch.tokens <= tokens
        assert len(one.running) <= sequences
        for output in one.advance(batch):
            made[output.id] += 1
    assert made == {str(n): min(limit, natural) for n, (_, limit, natural) in enumerate(requests)}
    assert one.cache.usage == 0
