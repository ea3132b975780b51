"""Names under which the collectors write what they observe; those with a colon are vLLM's own."""

HEALTH = "health"
RUNNING = "vllm:num_requests_running"
ITERATIONS = "vllm:iteration_tokens_total_count"
"""Grows with every engine step. Flat while requests are running, it is the sign of a hang that ``/health`` never
shows (measured on vLLM 0.32)."""

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
