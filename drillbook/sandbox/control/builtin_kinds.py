"""The built-in kinds, as data. The order of versions within a group is the order of preference."""

from __future__ import annotations

from drillbook.sandbox.control.kinds import Kind

_STATUS = frozenset({"status"})
_SCALED = frozenset({"status", "scale"})
_ALL = ("all",)
_POD_FIELDS = frozenset(
    {
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    }
)
_EVENT_FIELDS = frozenset(
    {
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    }
)

KINDS = (
    Kind(
        "",
        "v1",
        "Namespace",
        "namespaces",
        False,
        ("ns",),
        frozenset({"status", "finalize"}),
        frozenset({"status.phase"}),
    ),
    Kind("", "v1", "Node", "nodes", False, ("no",), _STATUS, frozenset({"spec.unschedulable"})),
    Kind(
        "",
        "v1",
        "Pod",
        "pods",
        True,
        ("po",),
        frozenset({"status", "log", "exec", "attach", "eviction", "binding", "ephemeralcontainers"}),
        _POD_FIELDS,
        _ALL,
    ),
    Kind("", "v1", "Service", "services", True, ("svc",), _STATUS, frozenset({"spec.clusterIP", "spec.type"}), _ALL),
    Kind("", "v1", "Endpoints", "endpoints", True, ("ep",)),
    Kind("", "v1", "Event", "events", True, ("ev",), frozenset(), _EVENT_FIELDS),
    Kind("", "v1", "ConfigMap", "configmaps", True, ("cm",)),
    Kind("", "v1", "Secret", "secrets", True, (), frozenset(), frozenset({"type"})),
    Kind("", "v1", "ServiceAccount", "serviceaccounts", True, ("sa",)),
    Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True, ("pvc",), _STATUS),
    Kind("", "v1", "PersistentVolume", "persistentvolumes", False, ("pv",), _STATUS),
    Kind("", "v1", "ReplicationController", "replicationcontrollers", True, ("rc",), _SCALED),
    Kind("", "v1", "LimitRange", "limitranges", True, ("limits",)),
    Kind("", "v1", "ResourceQuota", "resourcequotas", True, ("quota",), _STATUS),
    Kind("apps", "v1", "Deployment", "deployments", True, ("deploy",), _SCALED, frozenset(), _ALL),
    Kind("apps", "v1", "ReplicaSet", "replicasets", True, ("rs",), _SCALED, frozenset({"status.replicas"}), _ALL),
    Kind("apps", "v1", "StatefulSet", "statefulsets", True, ("sts",), _SCALED, frozenset(), _ALL),
    Kind("apps", "v1", "DaemonSet", "daemonsets", True, ("ds",), _STATUS, frozenset(), _ALL),
    Kind("apps", "v1", "ControllerRevision", "controllerrevisions"),
    Kind("batch", "v1", "Job", "jobs", True, (), _STATUS, frozenset({"status.successful"}), _ALL, orphans=True),
    Kind("batch", "v1", "CronJob", "cronjobs", True, ("cj",), _STATUS, frozenset(), _ALL),
    Kind(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        True,
        ("hpa",),
        _STATUS,
        frozenset(),
        _ALL,
    ),
    Kind(
        "autoscaling",
        "v1",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        True,
        ("hpa",),
        _STATUS,
        frozenset(),
        _ALL,
        storage="v2",
    ),
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, ("pdb",), _STATUS),
    Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    Kind("coordination.k8s.io", "v1", "Lease", "leases"),
    Kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False, ("pc",)),
    Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", False, ("sc",)),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, ("netpol",)),
    Kind("networking.k8s.io", "v1", "Ingress", "ingresses", True, ("ing",), _STATUS),
    Kind("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", False),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", False),
    Kind(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        False,
        ("crd", "crds"),
        _STATUS,
    ),
    Kind(
        "leaderworkerset.x-k8s.io",
        "v1",
        "LeaderWorkerSet",
        "leaderworkersets",
        True,
        ("lws",),
        _SCALED,
        scale_paths=(("spec", "replicas"), ("status", "replicas"), ("status", "hpaPodSelector")),
    ),
    Kind("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", kept=False),
    Kind("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", False, kept=False),
)
