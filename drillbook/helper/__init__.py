"""What runs inside a helper pod: ``python -m drillbook.helper [--clear] [--seconds N] PROGRAM '<json>'``.

A helper reaches what no API call does: a container's processes where the image has no shell, a pod's links. It stands
on the victim's node with the node's PID namespace, and needs nothing but the standard library, so that any image with
a Python will do.

A program is a module of this package that defines ``PROGRAM``: called with the arguments (the decoded JSON object) it
gives an object with three things (``program.Program``)::

    held: bool                     False: done in a moment, the pod ends after `apply`
    apply() -> dict                does it; answers what was done. Raises DrillbookError where nothing of it is in place
    clear() -> dict                takes away whatever of it there is, its own or another process's; idempotent;
                                   answers what was found. Raises DrillbookError where something of it may be left

``__main__`` does the rest and tells it in JSON, a line each: ``{"did": …}`` once ``apply`` is through, or ``{"error":
…, "hint": …, "unsupported": bool}``; then ``{"cleared": …}`` after SIGTERM, or after ``--seconds`` on its own monotonic
clock, whichever comes first. With ``--clear`` it only clears and ends: that is how an undo proves that nothing is left
of a helper that was killed. The exit code is 0 exactly when nothing of it is left in place.

``victim`` finds whom it is about: ``victim.pids(pod_uid, container, container_id)`` are the node's pids of one
container's processes, and ``with victim.network(pod_uid):`` runs its block in the pod's network namespace (programs
started in it, such as ``tc`` or ``nft``, are in it too). A pod that has gone raises ``victim.GoneError``: nothing of
anything can be left in it.

The other end is ``drillbook.targets.helper``: the pod's manifest, its start, what it said, its end and its undo.
"""
