"""What chaosk8s and krkn-lib would have told of scripted outages; run by ``clocks.py`` with their interpreters.

Neither tells when users were served again. What comes nearest is taken: of chaosk8s the moment at which
``deployment_fully_available`` returns, asked from the injection on; of krkn-lib the readiness and the total recovery
time that its pod monitor makes of the events. No network: their watches are given the scripted events.
"""

import json
import sys
from types import SimpleNamespace as Some

START = 1_700_000_000.0
"""The injection, on the wall clock that krkn-lib stamps events with."""


def chaosk8s(outages):
    from chaosk8s.deployment import probes

    probes.client = Some(AppsV1Api=lambda _: Some(list_namespaced_deployment=None))
    probes.create_k8s_api_client = lambda _: None

    def asked(at, changes):
        """When it returns, if it is asked then: the first event of a watch is the state at its start."""
        seen = []

        class Watch:
            def stream(self, *_, **__):
                ready = [count for moment, count in changes if moment <= at][-1]
                for moment, count in [(at, ready), *(change for change in changes if change[0] > at)]:
                    seen.append(moment)
                    status = Some(ready_replicas=count, unavailable_replicas=3 - count)
                    deployment = Some(metadata=Some(name="engines"), spec=Some(replicas=3), status=status)
                    yield {"type": "MODIFIED", "object": deployment}

            def stop(self):
                pass

        probes.watch = Some(Watch=Watch)
        return seen[-1] if probes.deployment_fully_available("engines", ns="llm", timeout=120) else None

    at_once, later = [], []
    for one in outages:
        changes = [(-1.0, 3)]
        if one["replaced"]:
            changes += [(one["deleting"], 2), (one["ready"], 3)]
        at_once.append(asked(0.0, changes))
        later.append(asked(one["added"], changes))
    return {
        "`deployment_fully_available`, asked at the injection": at_once,
        "the same, asked once the pod is gone": later,
    }


def krkn(outages):
    from krkn_lib.models.pod_monitor.models import MonitoredPod, PodEvent, PodsSnapshot, PodStatus

    def pod(name, *changes):
        found = MonitoredPod()
        found.name, found.namespace = name, "llm"
        for moment, status in changes:
            event = PodEvent(timestamp=START + moment)
            event.status = status
            found.status_changes.append(event)
        return found

    readiness, total = [], []
    for one in outages:
        snapshot = PodsSnapshot()
        pods = [pod("e1"), pod("e2")]
        if one["replaced"]:
            pods.append(pod("e0", (one["deleting"], PodStatus.DELETION_SCHEDULED), (one["added"], PodStatus.DELETED)))
            new = pod("e9", (one["added"], PodStatus.ADDED), (one["ready"], PodStatus.READY))
            snapshot.added_pods.append(new.name)
            snapshot.pods[new.name] = new
        else:
            pods.append(pod("e0"))
        for each in pods:
            snapshot.initial_pods.append(each.name)
            snapshot.pods[each.name] = each
        status = snapshot.get_pods_status()
        since = one["deleting"]
        readiness.append(since + status.recovered[0].pod_readiness_time if status.recovered else None)
        total.append(since + status.recovered[0].total_recovery_time if status.recovered else None)
    return {"`pod_readiness_time`": readiness, "`total_recovery_time`": total}


if __name__ == "__main__":
    json.dump({"chaosk8s": chaosk8s, "krkn": krkn}[sys.argv[1]](json.load(sys.stdin)), sys.stdout)
