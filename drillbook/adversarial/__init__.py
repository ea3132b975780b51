"""Harm through the API: plans of adversarial prompts, sent at a steady rate, and what the guardrail made of each."""

from __future__ import annotations
