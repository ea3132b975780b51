"""What one sandbox is, as ``sandbox.json`` in its state directory says it: every process of the sandbox reads it."""

from __future__ import annotations

import ipaddress
import os
from hashlib import blake2b
from pathlib import Path

import msgspec

from drillbook.errors import UsageError

MARK = "DRILLBOOK_SANDBOX_STATE"
"""The environment variable of every process of a sandbox: its state directory. ``down`` finds strays by it."""


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One Node object that the agent registers, with what the scheduler may give away on it."""

    name: str
    gpus: int
    gpu_product: str = "NVIDIA-H100-80GB-HBM3"
    cpu: str = "96"
    memory: str = "1024Gi"
    pods: int = 250


DEFAULT_NODES = (NodeConfig(name="gpu-node-a", gpus=8), NodeConfig(name="gpu-node-b", gpus=4))


def nodes_for(replicas: int) -> tuple[NodeConfig, ...]:
    """The default nodes, and as many more of eight GPUs each as so many engines of one GPU need."""
    more = max(0, -(-(replicas - sum(node.gpus for node in DEFAULT_NODES)) // 8))
    return (*DEFAULT_NODES, *(NodeConfig(name=f"gpu-node-{number + 3}", gpus=8) for number in range(more)))


class SandboxConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One sandbox. ``network`` is a /20: the gateway is its first address, its last /24 belongs to Services."""

    name: str
    engine: str
    """``sim`` or ``vllm``: what ``vllm/vllm-openai`` images run."""
    stack: str = "production-stack"
    """Which manifests it runs: a key of ``drillbook.sandbox.stack.LAYOUTS``."""
    state_dir: str
    api_port: int
    network: str
    bridged: bool
    """Pods have network namespaces on a bridge (root on Linux); else each has an address of its own in 127.0.0.0/8."""
    vllm_python: str = ""
    nodes: tuple[NodeConfig, ...] = DEFAULT_NODES
    backoff_initial: float = 10.0
    """Seconds of the first CrashLoopBackOff; each next one doubles (the kubelet's own figures are the defaults)."""
    backoff_max: float = 300.0
    control: dict[str, str] = {}
    """Settings of the control plane that differ from its defaults, by the name of its flag."""
    endpoint_delay: float = 0.1
    """Seconds from an EndpointSlice's change until the service proxy routes by it. kube-proxy is measured between some
    tens of milliseconds and its ``--iptables-min-sync-period`` of 1 s."""

    @property
    def path(self) -> Path:
        return Path(self.state_dir)

    @property
    def tag(self) -> str:
        """Eight hexadecimal digits that name this sandbox's kernel objects; unique to its state directory."""
        return tag_of(self.path)

    @property
    def bridge(self) -> str:
        return f"dbk{self.tag}"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def gateway(self) -> str:
        """Where pods reach the API server (port :attr:`api_port`) and the sandbox's DNS."""
        return str(self.subnet[1])

    @property
    def subnet(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(self.network)

    @property
    def service_cidr(self) -> str:
        return f"{self.subnet[15 * 256]}/24"

    def node_address(self, index: int) -> str:
        """InternalIP of the node with this index: 2, 3 … in the subnet's first /24, which holds no pods."""
        return str(self.subnet[2 + index])

    def save(self) -> None:
        file = self.path / "sandbox.json"
        draft = file.with_suffix(".new")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(self)))
        draft.replace(file)


def tag_of(state_dir: Path) -> str:
    return blake2b(os.fsencode(state_dir.resolve()), digest_size=4).hexdigest()


def load(state_dir: Path) -> SandboxConfig:
    """The sandbox whose state directory this is.

    :raises UsageError: there is none, or its ``sandbox.json`` cannot be read.
    """
    file = state_dir / "sandbox.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=SandboxConfig)
    except FileNotFoundError:
        raise UsageError(f"{state_dir} holds no sandbox (no sandbox.json)", "start one: drillbook sandbox up") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"cannot read {file}: {error}", "remove it: drillbook sandbox down") from None
