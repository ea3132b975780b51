"""The alert rules of ``playbooks/alerts.yaml``: as rows to list, and as an object for Prometheus' operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from drillbook import catalog
from drillbook.errors import InvalidFileError, Problem

Json = dict[str, Any]


def groups(path: Path | None = None) -> list[Json]:
    """The groups of rules, as Prometheus reads them; the user's own file where there is one.

    Raises:
        InvalidFileError: the file cannot be read, or holds no groups of rules.

    """
    path = path or catalog.alert_rules()
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        every = [rule["expr"] for group in found for rule in group["rules"]]
    except (OSError, yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        problem = Problem(str(path), 0, 0, f"these are no alert rules: {error}", "`promtool check rules` tells more")
        raise InvalidFileError.of(path, [problem]) from error
    return list(found) if every else []


def rules() -> list[Json]:
    """Every alert rule, in the order of the file."""
    return [rule for group in groups() for rule in group["rules"] if "alert" in rule]


def prometheus_rule() -> Json:
    """A ``PrometheusRule`` of the operator (``monitoring.coreos.com/v1``) with all groups.

    The label is what kube-prometheus-stack selects rules by, unless it was installed to select others.
    """
    labels = {"release": "kube-prometheus-stack", "app.kubernetes.io/managed-by": "drillbook"}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "drillbook-alerts", "labels": labels},
        "spec": {"groups": groups()},
    }
