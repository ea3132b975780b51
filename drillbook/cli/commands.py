"""Every command with its one-line help, so that ``drillbook --help`` needs to import none of them."""

from __future__ import annotations

SECTIONS: dict[str, dict[str, str]] = {
    "Drill": {
        "run": "Break the target, measure it, put it back, judge it.",
        "attack": "Send adversarial prompts by themselves, and judge the guardrail.",
        "plan": "Show what a run would do to which objects; touch nothing.",
        "recover": "List and undo whatever any run left behind.",
    },
    "Learn": {
        "check": "Judge a recorded run again.",
        "report": "Write the reports and the playbook of a recorded run.",
    },
    "Write": {
        "init": "Make a drillbook of your own: five folders and a first experiment.",
        "validate": "Check experiments, probes, packs, plans and playbooks, and tell every problem with its place.",
        "list": "Show which experiments, faults, probes, packs, plans, playbooks, stacks and prompts there are.",
        "show": "Print an experiment, and what it will do in plain words.",
        "schema": "Print the JSON Schema of experiment files, for editors.",
        "trust": "Allow the Python of a drillbook folder to be executed.",
        "export": "Write an experiment in the format of another tool.",
    },
    "Target": {
        "doctor": "Find out what works here, what does not, and why.",
        "sandbox": "Start, show and stop the cluster in a box.",
    },
}
"""By section, in the order in which a new user meets them. The command ``name`` is ``drillbook.cli.<name>:command``."""

HELP: dict[str, str] = {name: text for section in SECTIONS.values() for name, text in section.items()}
