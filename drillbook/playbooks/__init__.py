"""Incident playbooks: one YAML file a failure mode, filled in from the run that proved it.

``playbook`` is the file's model, ``load`` reads it with every problem at its line, ``incident`` is what a run brings,
and ``fill`` puts the two together: signals seen and missed, commands with real names, measured times.
"""

from __future__ import annotations
