"""The processes of a container, seen and signalled through exec: by pid and start time, never by name alone.

One small script does both. It needs a POSIX ``sh`` with its builtins and ``/proc``, and nothing else of the image: no
``ps``, no ``pkill``, no ``grep``. It signals single pids above 1 only, each checked against its start time just before.
"""

from __future__ import annotations

from dataclasses import dataclass

from drillbook.errors import RefusedError, UnsupportedError
from drillbook.model.undo import ObjectRef, ProcessRef
from drillbook.targets.kube import Kube
from drillbook.targets.podexec import ExecResult, NoProgramError

# /proc/PID/stat is `pid (comm) state ppid …`: comm may hold anything, so the fields are counted after the last `) `,
# where the state is the first and the start time (field 22 of all) the twentieth. `read` leaves out cmdline's NULs.
_SCRIPT = r"""
look() {
  line=; { IFS= read -r line < "/proc/$1/stat"; } 2>/dev/null
  set -f; set -- ${line##*) }; set +f
  state=$1; start=${20}
  [ -n "$start" ]
}
signal=$1
[ $# -gt 0 ] && shift
for each in "$@"; do
  pid=${each%%:*}
  if [ "$pid" -gt 1 ] && look "$pid" && [ "$start" = "${each#*:}" ] && [ "$state" != Z ]; then
    if kill -s "$signal" "$pid" 2>/dev/null; then echo "sent $each"; else echo "denied $each"; fi
  else
    echo "gone $each"
  fi
done
for each in /proc/[0-9]*; do
  pid=${each#/proc/}
  title=; { IFS= read -r title < "$each/cmdline"; } 2>/dev/null
  if [ "$pid" != $$ ] && look "$pid"; then echo "process $pid $start $state $title"; fi
done
exit 0
"""

ALL = ("STOP", "CONT", "KILL", "TERM")
"""The signals that may be sent."""


@dataclass(frozen=True)
class Process:
    """One process and its state: ``T`` is stopped, ``Z`` dead but not yet waited for (proc(5))."""

    ref: ProcessRef
    state: str

    @property
    def alive(self) -> bool:
        return self.state not in ("Z", "X")

    @property
    def stopped(self) -> bool:
        return self.state == "T"


async def look(kube: Kube, pod: ObjectRef, container: str) -> tuple[Process, ...]:
    """All processes of the container.

    :raises UnsupportedError: the container has no shell.
    :raises RefusedError: exec is not allowed, or there is no such container.
    """
    return _processes(await _run(kube, pod, container, ()))


async def signal(
    kube: Kube, pod: ObjectRef, container: str, refs: tuple[ProcessRef, ...], name: str
) -> tuple[Process, ...]:
    """Signal these very processes; those that are gone are passed over. Answers what the container looks like after it.

    :raises RefusedError: a signal was denied (the shell runs as another user); others may have been sent.
    """
    if name not in ALL:
        raise UnsupportedError(
            f"the signal {name!r} is not one that drillbook sends", hint=f"it sends {', '.join(ALL)}"
        )
    result = await _run(kube, pod, container, (name, *(f"{ref.pid}:{ref.start_time}" for ref in refs)))
    denied = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("denied ")]
    if denied:
        raise RefusedError(
            f"SIG{name} to {', '.join(denied)} (pid:start time) in {pod.name}/{container} was denied",
            hint="the container's shell may not signal that process: it runs as another user",
        )
    return _processes(result)


def titled(processes: tuple[Process, ...], title: str) -> tuple[Process, ...]:
    """The living processes with this title, or with it and a rank: ``VLLM::Worker`` also means ``VLLM::Worker_TP1``."""
    return tuple(
        each for each in processes if each.alive and (each.ref.title == title or each.ref.title.startswith(f"{title}_"))
    )


def find(processes: tuple[Process, ...], ref: ProcessRef) -> Process | None:
    """Find this very process, if it is still there."""
    for each in processes:
        if (each.ref.pid, each.ref.start_time) == (ref.pid, ref.start_time):
            return each
    return None


async def _run(kube: Kube, pod: ObjectRef, container: str, arguments: tuple[str, ...]) -> ExecResult:
    argv = ("sh", "-c", _SCRIPT, "drillbook", *arguments)
    result = await kube.exec(pod.namespace, pod.name, container, argv)
    if result.exit_code in (126, 127):
        raise NoProgramError(
            f"{pod.name}/{container} has no usable shell: {result.stderr.strip()[:200]}",
            hint="process faults need a POSIX `sh` in the container; a distroless image has none",
        )
    if result.exit_code:
        raise RefusedError(f"looking at the processes of {pod.name}/{container} failed: {result.stderr.strip()[:200]}")
    return result


def _processes(result: ExecResult) -> tuple[Process, ...]:
    found = []
    for line in result.stdout.splitlines():
        kind, _, rest = line.partition(" ")
        parts = rest.split(" ", 3)
        if kind == "process" and len(parts) == 4 and parts[3]:
            ref = ProcessRef(pid=int(parts[0]), start_time=int(parts[1]), title=parts[3].strip())
            found.append(Process(ref, parts[2]))
    return tuple(found)
