"""vLLM 0.32's series: names, labels, types and buckets as its ``/metrics`` was seen to give them."""

from __future__ import annotations

from collections.abc import Sequence

from drillbook.sandbox.engine.metrics import Histogram, Registry, Value
from drillbook.sandbox.engine.wire import Stats

LATENCY = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
FIRST_TOKEN = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    20,
    40,
    80,
    160,
    640,
    2560,
)
BETWEEN_TOKENS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
STEP_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
FINISHED = ("stop", "length", "abort", "error", "repetition")
REJECTED = ("max_num_queued_reqs", "max_num_queued_tokens")
SILENT_COUNTERS = {
    "vllm:estimated_flops_per_gpu_total": "Estimated floating point operations of one GPU.",
    "vllm:estimated_read_bytes_per_gpu_total": "Estimated bytes that one GPU read from its memory.",
    "vllm:estimated_write_bytes_per_gpu_total": "Estimated bytes that one GPU wrote to its memory.",
    "vllm:prefix_cache_hits_total": "Tokens found in the prefix cache.",
    "vllm:external_prefix_cache_queries_total": "Tokens looked up in other instances' prefix caches.",
    "vllm:external_prefix_cache_hits_total": "Tokens found in other instances' prefix caches.",
    "vllm:mm_cache_queries_total": "Items looked up in the multi-modal cache.",
    "vllm:mm_cache_hits_total": "Items found in the multi-modal cache.",
    "vllm:prompt_tokens_cached_total": "Prompt tokens that a cache supplied.",
}
"""What this engine never counts: it has no caches to hit. vLLM gives these series all the same."""


def one_two_five(limit: int) -> list[float]:
    """Buckets of vLLM for token counts: 1, 2, 5, 10, 20, 50 … up to the model's length."""
    bounds = [digit * 10.0**power for power in range(12) for digit in (1, 2, 5)]
    return [bound for bound in bounds if bound <= limit]


class EngineSeries:
    """The series of one engine in its API server's registry."""

    def __init__(self, registry: Registry, model: str, *, max_model_len: int, cache: dict[str, str]) -> None:
        own = {"engine": "0", "model_name": model}

        def values(kind: str, name: str, text: str, label: str, names: Sequence[str]) -> dict[str, Value]:
            return {one: registry.value(kind, name, text, {**own, label: one}) for one in names}

        def counter(name: str, text: str) -> Value:
            return registry.value("counter", f"vllm:{name}", text, own)

        def gauge(name: str, text: str) -> Value:
            return registry.value("gauge", f"vllm:{name}", text, own)

        self._running = gauge("num_requests_running", "Requests in the running batch.")
        self._waiting = gauge("num_requests_waiting", "Requests that wait to run.")
        self._reasons = values(
            "gauge",
            "vllm:num_requests_waiting_by_reason",
            "Requests that wait, by reason.",
            "reason",
            ("capacity", "deferred"),
        )
        sleep = ("awake", "weights_offloaded", "discard_all")
        values("gauge", "vllm:engine_sleep_state", "Whether the engine sleeps.", "sleep_state", sleep)["awake"].set(1)
        self._kv_usage = gauge("kv_cache_usage_perc", "Share of KV cache blocks in use, 0 to 1.")
        for name, text in SILENT_COUNTERS.items():
            registry.value("counter", name, text, own)
        self._prefix_queries = counter("prefix_cache_queries_total", "Tokens looked up in the prefix cache.")
        self._preemptions = counter("num_preemptions_total", "Requests that lost their KV blocks and start over.")
        self._prompt_tokens = counter("prompt_tokens_total", "Prompt tokens computed.")
        sources = ("local_compute", "local_cache_hit", "external_kv_transfer")
        self._prompt_sources = values(
            "counter",
            "vllm:prompt_tokens_by_source_total",
            "Prompt tokens, by where they came from.",
            "source",
            sources,
        )
        tiers = ("device", "host", "p2p", "disk", "external_unspecified")
        values(
            "counter", "vllm:prompt_tokens_cached_by_source_total", "Cached prompt tokens, by tier.", "source", tiers
        )
        self._generation_tokens = counter("generation_tokens_total", "Tokens generated.")
        self.finished = values(
            "counter", "vllm:request_success_total", "Requests that ended, by reason.", "finished_reason", FINISHED
        )
        self.rejected = {
            reason: registry.value(
                "counter",
                "vllm:admission_rejections_total",
                "Requests refused for a full queue, by limit.",
                {"model_name": model, "reason": reason},
            )
            for reason in REJECTED
        }
        counts = one_two_five(max_model_len)

        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return registry.histogram(f"vllm:{name}", text, own, buckets)

        self.prompt = histogram("request_prompt_tokens", "Prompt tokens of a request.", counts)
        self.generated = histogram("request_generation_tokens", "Generated tokens of a request.", counts)
        self._step_tokens = histogram("iteration_tokens_total", "Tokens of one engine step.", STEP_TOKENS)
        self.max_generated = histogram(
            "request_max_num_generation_tokens", "Most tokens of a request's answers.", counts
        )
        self.n = histogram("request_params_n", "The request parameter n.", (1, 2, 5, 10, 20))
        self.max_tokens = histogram("request_params_max_tokens", "The request parameter max_tokens.", counts)
        self.ttft = histogram("time_to_first_token_seconds", "Seconds to the first token.", FIRST_TOKEN)
        self.itl = histogram("inter_token_latency_seconds", "Seconds between two tokens.", BETWEEN_TOKENS)
        self.tpot = histogram(
            "request_time_per_output_token_seconds", "Mean seconds a token, by request.", BETWEEN_TOKENS
        )
        self.e2e = histogram("e2e_request_latency_seconds", "Seconds from arrival to the last token.", LATENCY)
        self.queued = histogram("request_queue_time_seconds", "Seconds that a request waited to run.", LATENCY)
        self.inference = histogram("request_inference_time_seconds", "Seconds that a request ran.", LATENCY)
        self.prefill = histogram("request_prefill_time_seconds", "Seconds of a request's prefill.", LATENCY)
        self.decode = histogram("request_decode_time_seconds", "Seconds of a request's decoding.", LATENCY)
        self.preempted = histogram("request_num_preemptions", "Preemptions of a request.", (1, 2, 3, 4, 5, 10, 20))
        self.computed = histogram("request_prefill_kv_computed_tokens", "Prompt tokens computed for a request.", counts)
        registry.value("gauge", "vllm:cache_config_info", "The cache's configuration.", {**cache, "engine": "0"}).set(1)

    def record(self, stats: Stats, *, generated: int, prompts: int) -> None:
        """Take in what a step left behind: ``generated`` tokens, ``prompts`` tokens whose prefill is complete."""
        self._running.set(stats.running)
        self._waiting.set(stats.waiting)
        self._reasons["capacity"].set(stats.waiting)
        self._kv_usage.set(stats.kv_usage)
        self._preemptions.add(stats.preempted)
        self._prompt_tokens.add(prompts)
        self._prefix_queries.add(prompts)
        self._prompt_sources["local_compute"].add(prompts)
        self._generation_tokens.add(generated)
        if stats.tokens:
            self._step_tokens.observe(stats.tokens)
