"""The keys of a Chaos Toolkit experiment, by place: what chaoslib 1.44 reads, and nothing else.

chaoslib itself ignores what it does not know, so that ``metod`` and ``backgroud`` pass for a valid experiment there.
"""

from __future__ import annotations

EXPERIMENT = (
    "title",
    "description",
    "version",
    "tags",
    "contributions",
    "configuration",
    "secrets",
    "controls",
    "steady-state-hypothesis",
    "method",
    "rollbacks",
    "extensions",
    "runtime",
    "dry",
)
HYPOTHESIS = ("title", "probes", "controls")
ACTIVITY = (
    "type",
    "name",
    "ref",
    "provider",
    "tolerance",
    "background",
    "pauses",
    "controls",
    "configuration",
    "secrets",
    "timeout",
    "dry",
)
PAUSES = ("before", "after")
PROVIDERS = {
    "python": ("type", "module", "func", "arguments", "secrets", "timeout"),
    "http": (
        "type",
        "url",
        "method",
        "headers",
        "timeout",
        "arguments",
        "verify_tls",
        "max_retries",
        "secrets",
    ),
    "process": ("type", "path", "arguments", "timeout", "secrets"),
}
NEEDED = {"python": ("module", "func"), "http": ("url",), "process": ("path",)}
TOLERANCES = {
    "probe": ACTIVITY,
    "regex": ("type", "pattern", "target"),
    "jsonpath": ("type", "path", "expect", "count", "target"),
    "range": ("type", "range", "target"),
}
CONTROL = ("name", "ref", "provider", "scope", "automatic")
CONTROL_PROVIDER = ("type", "module", "arguments", "secrets")
RUNTIME = {
    "rollbacks": ("strategy",),
    "hypothesis": ("strategy", "frequency", "fail_fast"),
    "python": ("isolated", "version", "dependencies"),
}
ROLLBACK_STRATEGIES = ("default", "always", "never", "deviated")
HYPOTHESIS_STRATEGIES = (
    "default",
    "before-method-only",
    "after-method-only",
    "during-method-only",
    "continuously",
    "skip",
)
DRY = ("probes", "actions", "activities", "pause")
CONFIGURATION_TYPES = ("env", "probe")
ENV_TYPES = ("str", "int", "float", "bytes", "bool", "json")
