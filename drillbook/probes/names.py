"""Names under which the collectors write what they observe; those with a colon are vLLM's own."""

HEALTH = "health"
RUNNING = "vllm:num_requests_running"
ITERATIONS = "vllm:iteration_tokens_total_count"
"""Grows with every engine step. Flat while requests are running, it is the sign of a hang that ``/health`` never
shows (measured on vLLM 0.32)."""

FINISHED = "vllm:request_success_total"
"""Answers that the engine brought to their end, stopped by themselves or at their length: it grows where it serves."""
PREEMPTIONS = "vllm:num_preemptions_total"
"""Requests that lost their KV blocks to others and are computed anew from their first token."""
CACHE_USE = "vllm:kv_cache_usage_perc"
"""Share of the KV cache's blocks in use, 0 to 1, whatever its name says."""

SENT = "router:sent"
"""How many requests a router has handed to engines since it began. The label ``router`` names its pod; each other
label is the address of an engine, and says how many of them that one got."""

LINK_RATE = "link:rate"
"""Bits a second between two pods, as a helper measured it; the labels say between whom and in which step."""
LINK_SETTING = "link:setting"
"""Which step of a link's schedule a helper has just set."""

ALERTS = "prometheus:alerts"
"""How many alerts fire, at each look at Prometheus' rules: it tells that they were looked at."""

INSTRUMENT = "instrument"
"""The actor of the note that an instrument leaves when it fails: from then on nothing looked where it had looked."""

ATTACKER = "attack"
"""The writer of attacks (``attack``, ``attack-2`` …), and the actor of the note that one leaves when it dies."""
DIED = "the attacker died"
"""How that note begins."""
