"""What is watched: each kind under the versions of the API that serve it, newest first."""

from __future__ import annotations

from dataclasses import dataclass

from drillbook.model.plan import Permission


@dataclass(frozen=True)
class Watched:
    """One kind. ``places``: group and version, and plural, in the order in which they are tried."""

    places: tuple[tuple[str, str], ...]
    needed: bool = True
    """False: a target that has none of it, or does not let us look, is watched without it, and the run says so."""
    foreign: bool = False
    """Of an add-on that most clusters do not have: that it is not served is no news."""
    namespaced: bool = True

    def permissions(self) -> tuple[Permission, ...]:
        """What watching it in its newest version takes."""
        (version, plural), *_ = self.places
        group = version.rpartition("/")[0]
        namespace = "" if self.namespaced else "*"
        return tuple(
            Permission(verb=verb, group=group, resource=plural, namespace=namespace) for verb in ("list", "watch")
        )


KINDS = {
    "Pod": Watched((("v1", "pods"),)),
    "Deployment": Watched((("apps/v1", "deployments"),)),
    "StatefulSet": Watched((("apps/v1", "statefulsets"),)),
    # Before Kubernetes 1.21 they were v1beta1, of the same form.
    "EndpointSlice": Watched(
        (("discovery.k8s.io/v1", "endpointslices"), ("discovery.k8s.io/v1beta1", "endpointslices"))
    ),
    "Event": Watched((("v1", "events"),)),
    "Node": Watched((("v1", "nodes"),), needed=False, namespaced=False),
    "HorizontalPodAutoscaler": Watched(
        (("autoscaling/v2", "horizontalpodautoscalers"), ("autoscaling/v1", "horizontalpodautoscalers")), needed=False
    ),
    "Rollout": Watched((("argoproj.io/v1alpha1", "rollouts"),), needed=False, foreign=True),
    "AnalysisRun": Watched((("argoproj.io/v1alpha1", "analysisruns"),), needed=False, foreign=True),
    "Canary": Watched((("flagger.app/v1beta1", "canaries"),), needed=False, foreign=True),
}
NEEDED = tuple(kind for kind, watched in KINDS.items() if watched.needed)
