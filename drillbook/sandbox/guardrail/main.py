"""Entry points of the two images, ``drillbook/guardrail-gateway`` and ``drillbook/guardrail-classifier``."""

from __future__ import annotations

import os
from collections.abc import Sequence

from drillbook.sandbox.guardrail import settings


def gateway(words: Sequence[str]) -> int:
    """Run a gateway with these flags; returns the exit code."""
    from drillbook.sandbox.guardrail.gateway import serve

    return serve(settings.gateway(words, os.environ))


def classifier(words: Sequence[str]) -> int:
    """Run a classifier with these flags; returns the exit code."""
    from drillbook.sandbox.guardrail.classifier import serve

    return serve(settings.classifier(words, os.environ))
