"""Who may do what: everything, but for what a test has taken away.

The ConfigMap ``sandbox-permissions`` in ``kube-system`` holds a YAML list of rules under ``denied``. A rule says
``user`` (default ``*``), ``verbs``, ``groups``, ``resources`` (``pods``, ``pods/exec``) and ``namespaces``, each
a list where ``*`` and absence mean any. ``user: "*"`` spares names that begin with ``system:``, so that the node agent
lives on and ``--as=system:admin`` can give back what was taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from drillbook.sandbox.control import statuses
from drillbook.sandbox.control.objects import Json, dig
from drillbook.sandbox.control.requests import Caller, Target
from drillbook.sandbox.control.store import Change, Store

NAMESPACE, NAME, KEY = "kube-system", "sandbox-permissions", "denied"
_FIELDS = ("user", "verbs", "groups", "resources", "namespaces")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What somebody wants to do; ``resource`` carries its subresource (``pods/exec``)."""

    user: str
    verb: str
    group: str
    resource: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Rule:
    user: str
    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    namespaces: frozenset[str]

    @classmethod
    def of(cls, row: Json) -> Rule:
        def words(field: str) -> frozenset[str]:
            value = row.get(field) or ["*"]
            return frozenset([value] if isinstance(value, str) else value)

        return cls(str(row.get("user", "*")), words("verbs"), words("groups"), words("resources"), words("namespaces"))

    def denies(self, attempt: Attempt) -> bool:
        if self.user != attempt.user and (self.user != "*" or attempt.user.startswith("system:")):
            return False
        return all(
            "*" in wanted or value in wanted
            for wanted, value in (
                (self.verbs, attempt.verb),
                (self.groups, attempt.group),
                (self.resources, attempt.resource),
                (self.namespaces, attempt.namespace),
            )
        )


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Raises ValueError where the text is not a list of rules."""
    try:
        rows = yaml.safe_load(text) or []
    except yaml.YAMLError as problem:
        raise ValueError(str(problem)) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and set(row) <= set(_FIELDS) for row in rows):
        raise ValueError(f"wants a list of rules with the fields {', '.join(_FIELDS)}")
    return tuple(Rule.of(row) for row in rows)


class Access:
    """The rules now in force. A ConfigMap that cannot be read denies nothing, and says so in ``problem``."""

    def __init__(self, store: Store) -> None:
        self._rules: tuple[Rule, ...] = ()
        self.problem = ""
        found = store.get("configmaps", NAMESPACE, NAME)
        if found is not None:
            self._load(found.obj)
        store.listen("configmaps", self._on_change)

    def denied(self, attempt: Attempt) -> bool:
        return any(rule.denies(attempt) for rule in self._rules)

    def check(self, caller: Caller, target: Target, verb: str) -> None:
        """Raises ApiError 403."""
        resource = f"{target.kind.plural}/{target.subresource}" if target.subresource else target.kind.plural
        if self._rules and self.denied(Attempt(caller.user, verb, target.kind.group, resource, target.namespace)):
            where = f' in the namespace "{target.namespace}"' if target.namespace else " at the cluster scope"
            raise statuses.forbidden(
                target.kind.resource,
                target.name,
                f'User "{caller.user}" cannot {verb} resource "{resource}" in API group "{target.kind.group}"{where}',
            )

    def review(self, caller: Caller, body: Json) -> Json:
        """Answer a SelfSubjectAccessReview."""
        wanted = dig(body, "spec", "resourceAttributes", default={})
        resource = wanted.get("resource", "*")
        if wanted.get("subresource"):
            resource += f"/{wanted['subresource']}"
        attempt = Attempt(
            caller.user, wanted.get("verb", "*"), wanted.get("group", ""), resource, wanted.get("namespace", "")
        )
        denied = self.denied(attempt)
        status: Json = {"allowed": not denied}
        status["reason"] = f"denied by configmap {NAMESPACE}/{NAME}" if denied else "allowed by the sandbox"
        return {**body, "status": status}

    def rules_review(self, body: Json) -> Json:
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        status = {"resourceRules": [everything], "nonResourceRules": [], "incomplete": bool(self._rules)}
        return {**body, "status": status}

    def _on_change(self, change: Change) -> None:
        metadata = change.obj["metadata"]
        if (metadata["namespace"], metadata["name"]) == (NAMESPACE, NAME):
            self._load({} if change.type == "DELETED" else change.obj)

    def _load(self, configmap: Json) -> None:
        try:
            self._rules, self.problem = parse_rules(dig(configmap, "data", KEY, default="")), ""
        except ValueError as problem:
            self._rules, self.problem = (), str(problem)
