"""The scheduler on its own: what runs in each step, and what happens when the KV cache is full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drillbook.sandbox.engine.kv_cache import KVCache
from drillbook.sandbox.engine.scheduler import Scheduler
from drillbook.sandbox.engine.wire import Submit


def scheduler(blocks: int = 64, *, block_size: int = 4, sequences: int = 8, tokens: int = 64) -> Scheduler:
    return Scheduler(KVCache(blocks, block_size), max_sequences=sequences, max_batched_tokens=tokens)


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


@given(
    requests=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 10), st.integers(1, 12)), min_size=1, max_size=12),
    blocks=st.integers(10, 30),
    sequences=st.integers(1, 5),
    tokens=st.integers(1, 40),
)
def test_every_request_gets_all_its_tokens_and_no_block_is_lost(
    requests: list[tuple[int, int, int]], blocks: int, sequences: int, tokens: int
) -> None:
    one = scheduler(blocks, sequences=sequences, tokens=tokens)
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
