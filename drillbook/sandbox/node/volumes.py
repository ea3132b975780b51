"""A pod's volumes as folders of its own, and a container's mounts of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from drillbook.errors import DrillbookError
from drillbook.sandbox.node import environment
from drillbook.sandbox.node.api import Json
from drillbook.sandbox.node.environment import expand
from drillbook.sandbox.node.host import Host
from drillbook.sandbox.node.spec import Mount


class VolumeError(DrillbookError):
    """A volume cannot be set up now (``FailedMount``)."""


class Volumes:
    """The volumes of one pod. ``prepare`` may be called again after it failed."""

    def __init__(self, host: Host, pod: Json) -> None:
        self._host = host
        self._pod = pod
        self._folder = host.folder / "pods" / pod["metadata"]["uid"]
        self._memory = host.memory_folder / pod["metadata"]["uid"]
        self._sources: dict[str, Path] = {}

    async def prepare(self) -> None:
        """Make every volume.

        :raises VolumeError: a ConfigMap, a Secret or a host's folder is missing, or the volume's kind is not known.
        :raises ApiError: the API server could not be asked.
        """
        (self._memory / "shm").mkdir(parents=True, exist_ok=True)
        for volume in self._pod["spec"].get("volumes") or []:
            self._sources[volume["name"]] = await self._make(volume)

    async def _make(self, volume: Json) -> Path:
        name = volume["name"]
        folder: Path = self._folder / "volumes" / name
        if "hostPath" in volume:
            return self._host_path(volume["hostPath"])
        if "emptyDir" in volume:
            if (volume["emptyDir"] or {}).get("medium") == "Memory":
                folder = self._memory / name
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        projected = volume["projected"]["sources"] if "projected" in volume else [_as_source(volume)]
        folder.mkdir(parents=True, exist_ok=True)
        for source in projected:
            for path, content in (await self._files(name, source)).items():
                _write(folder / path, content)
        return folder

    def _host_path(self, volume: Json) -> Path:
        path, kind = Path(volume["path"]), volume.get("type") or ""
        if kind == "DirectoryOrCreate":
            path.mkdir(parents=True, exist_ok=True)
        elif kind == "FileOrCreate":
            path.touch()
        elif not path.exists():
            raise VolumeError(f"hostPath type check failed: {path} does not exist")
        return path

    async def _files(self, volume: str, source: Json) -> dict[str, bytes]:
        pod = self._pod
        if "downwardAPI" in source:
            rows = source["downwardAPI"].get("items") or []
            return {row["path"]: environment.field(pod, row["fieldRef"]["fieldPath"]).encode()
                    for row in rows if "fieldRef" in row}  # fmt: skip
        if "serviceAccountToken" in source:
            account = f"system:serviceaccount:{pod['metadata']['namespace']}:{pod['spec']['serviceAccountName']}"
            return {source["serviceAccountToken"]["path"]: account.encode()}  # a token is its owner's name here
        kind = "configmaps" if "configMap" in source else "secrets"
        reference = source.get("configMap") or source.get("secret")
        if reference is None:
            raise VolumeError(f'volume "{volume}": this kind of volume is not known in the sandbox')
        wanted = reference.get("name") or reference.get("secretName")
        found = await self._host.references.find(kind, pod["metadata"]["namespace"], wanted)
        if found is None:
            if reference.get("optional"):
                return {}
            raise VolumeError(f'MountVolume.SetUp failed for volume "{volume}" : {kind[:-1]} "{wanted}" not found')
        contents = environment.contents(kind, found)
        if not reference.get("items"):
            return contents
        missing = [item["key"] for item in reference["items"] if item["key"] not in contents]
        if missing and not reference.get("optional"):
            raise VolumeError(f'MountVolume.SetUp failed for volume "{volume}" : references non-existent config key: '
                              f"{missing[0]}")  # fmt: skip
        return {item["path"]: contents[item["key"]] for item in reference["items"] if item["key"] in contents}

    def mounts(self, container: Json, env: dict[str, str]) -> list[Mount]:
        """The container's mounts.

        :raises VolumeError: it mounts what the pod does not have.
        """
        result = []
        for row in container.get("volumeMounts") or []:
            if row["name"] not in self._sources:
                raise VolumeError(f'volume "{row["name"]}" is not in the pod')
            source = self._sources[row["name"]]
            inner = expand(row.get("subPathExpr") or "", env) or row.get("subPath") or ""
            if inner:
                source = source / inner
                if not source.exists():
                    source.mkdir(parents=True)
            result.append(Mount(source=str(source), target=row["mountPath"], read_only=bool(row.get("readOnly"))))
        if all(mount.target != "/dev/shm" for mount in result):  # noqa: S108 -- the container's own
            result.append(Mount(source=str(self._memory / "shm"), target="/dev/shm"))  # noqa: S108
        return result

    def etc(self, hostname: str, address: str) -> list[Mount]:
        """The files that a kubelet keeps in ``/etc`` of every container."""
        namespace, dns = self._pod["metadata"]["namespace"], self._pod["spec"]
        extra = dns.get("hostAliases") or []
        aliases = "".join(f"{row['ip']}\t{' '.join(row.get('hostnames') or [])}\n" for row in extra)
        full = hostname
        if dns.get("subdomain"):
            full = f"{hostname}.{dns['subdomain']}.{namespace}.svc.cluster.local\t{hostname}"
        files = {
            "hosts": f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n{address}\t{full}\n{aliases}",
            "hostname": f"{hostname}\n",
            "resolv.conf": f"search {namespace}.svc.cluster.local svc.cluster.local cluster.local\n"
            f"nameserver {self._host.config.gateway}\noptions ndots:5\n",
        }
        folder = self._folder / "etc"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        return [Mount(source=str(folder / name), target=f"/etc/{name}") for name in files]

    def remove(self) -> None:
        """Delete everything the pod had on disk and in memory."""
        for folder in (self._folder, self._memory):
            shutil.rmtree(folder, ignore_errors=True)


def _as_source(volume: Json) -> Json:
    return {key: value for key, value in volume.items() if key != "name"}


def _write(path: Path, content: bytes) -> None:
    """Whole files only: a reader sees the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"..{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
