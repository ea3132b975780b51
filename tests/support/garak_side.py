"""Run by an interpreter that has garak, and imports nothing of drillbook: garak's own harness over recorded answers.

``contract`` prints what drillbook's bridge relies on in garak's private methods; ``harness`` reads one line of JSON
(``specs``, ``seed``, ``cap``, ``buffs``, ``answers``) and prints each attempt that garak's harness has scored.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import random
import re
import sys


def reply(answers, messages):
    """The recorded answer to a conversation: one of them, by its last words; None is no answer."""
    said = messages[-1]["content"]
    chosen = answers[int(hashlib.sha256(said.encode()).hexdigest(), 16) % len(answers)]
    return None if chosen is None else chosen.replace("{said}", said)


def contract():
    from garak.generators.base import Generator
    from garak.harnesses.base import Harness
    from garak.probes.base import IterativeProbe, Probe

    methods = {
        "Probe.probe": Probe.probe,
        "Probe._execute_all": Probe._execute_all,
        "Probe._generator_precall_hook": Probe._generator_precall_hook,
        "Probe._generator_cleanup": Probe._generator_cleanup,
        "Probe._postprocess_buff": Probe._postprocess_buff,
        "Probe._postprocess_hook": Probe._postprocess_hook,
        "Probe._postprocess_attempt": Probe._postprocess_attempt,
        "Generator._call_model": Generator._call_model,
    }
    calls = re.findall(r"self\.(_?\w+(?:\.\w+)?)\(", inspect.getsource(Probe._execute_attempt))
    return {
        "signatures": {name: list(inspect.signature(method).parameters) for name, method in methods.items()},
        "an attempt is executed by": calls,
        "then": re.findall(r"self\.(_\w+)\(", inspect.getsource(Probe._execute_all).partition("else:")[2]),
        "the iterative probe sends by": "self._execute_all(" in inspect.getsource(IterativeProbe.probe),
        "a detector runs by": "detector_instance.detect(attempt)" in inspect.getsource(Harness._run_detector),
    }


def harness(start):
    import garak._plugins
    import garak.harnesses.base
    from garak import _config
    from garak.attempt import Message
    from garak.evaluators import ThresholdEvaluator
    from garak.generators.base import Generator
    from garak.harnesses.probewise import ProbewiseHarness

    class Recorded(Generator):
        """Answers from the recorded set."""

        generator_family_name = "recorded"

        def _call_model(self, prompt, generations_this_call=1):
            rows = [{"role": turn.role, "content": turn.content.text} for turn in prompt.turns]
            text = reply(start["answers"], rows)
            return [None if text is None else Message(text=text)]

    garak.harnesses.base._emit_plugin_cache_entry = lambda *_: None  # it knows none but garak's own generators
    _config.load_config()
    _config.transient.starttime = __import__("datetime").datetime(2026, 1, 1)
    _config.transient.reportfile = io.StringIO()
    _config.transient.report_filename = "/dev/null"
    _config.transient.hitlogfile = io.StringIO()
    _config.transient.run_id = "recorded"
    _config.transient.intent_spec, _config.transient.blocked_intent_spec = "S", ""
    _config.run.seed = start["seed"]
    _config.run.generations = 1
    _config.run.soft_probe_prompt_cap = start["cap"]
    _config.plugins.target_type = _config.plugins.target_name = "recorded"
    _config.reporting.confidence_interval_method = "none"
    load = garak._plugins.load_plugin

    def load_from_the_seed(name, *args, **kwargs):
        if name.startswith("probes."):  # the harness itself draws from the same chance before it loads a probe
            random.seed(start["seed"])
        return load(name, *args, **kwargs)

    garak._plugins.load_plugin = load_from_the_seed
    found = []
    for spec in start["specs"]:
        _config.transient.reportfile = io.StringIO()
        ProbewiseHarness().run(
            Recorded(name="recorded"),
            [f"probes.{spec}"],
            ThresholdEvaluator(0.5),
            [f"buffs.{name}" for name in start["buffs"]],
        )
        lines = map(json.loads, _config.transient.reportfile.getvalue().splitlines())
        found += [line for line in lines if line["entry_type"] == "attempt" and line["status"] == 2]
    return found


def main():
    real, sys.stdout = sys.stdout, sys.stderr
    told = contract() if sys.argv[1] == "contract" else harness(json.loads(sys.stdin.readline()))
    real.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
