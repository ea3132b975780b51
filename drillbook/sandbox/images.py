"""Image names and what they run here: local programs, data-driven, with the words of a real registry for all others."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from drillbook.errors import DrillbookError
from drillbook.sandbox.config import SandboxConfig


class ImageNotFoundError(DrillbookError):
    """No local program stands for this image; the message is a container runtime's."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What a container executes. ``entry``: run as ``module:function`` in a fork of the warm runtime instead."""

    argv: tuple[str, ...]
    entry: str = ""
    env: dict[str, str] = {}


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """The program that ``words`` start in the image, and what starts instead."""

    words: tuple[str, ...]
    argv: tuple[str, ...]
    entry: str = ""
    env: dict[str, str] = {}


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """``pattern`` matches the image's name without registry, tag and digest. The first program is its entry point."""

    pattern: str
    programs: tuple[Program, ...]
    needs: str = ""
    """An executable that this image stands or falls with."""
    has_entrypoint: bool = True
    """False: ``args`` alone are a whole command line, as with images that only name a default command."""


SIM_MODULE = "drillbook.sandbox.engine.main"
GUARDRAIL_MODULE = "drillbook.sandbox.guardrail.main"
_VLLM_SERVE = ("vllm", "serve")
_VLLM_MODULES = (
    ("python3", "-m", "vllm.entrypoints.openai.api_server"),
    ("python", "-m", "vllm.entrypoints.openai.api_server"),
)
_VLLM_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    # By itself each engine binds its threads to the first cores, all engines to the same ones: a replacement that
    # started beside a serving engine was not ready after 90 s (measured on two cores).
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",  # unbound threads of several engines spin against one another on few cores
}


def _vllm_programs(config: SandboxConfig) -> tuple[Program, ...]:
    if config.engine == "sim":
        sim = f"{SIM_MODULE}:main"
        return tuple(Program(words=words, argv=("vllm",), entry=sim) for words in (_VLLM_SERVE, *_VLLM_MODULES))
    server = (config.vllm_python, "-m", "vllm.entrypoints.openai.api_server")
    return (
        Program(words=_VLLM_SERVE, argv=(*_vllm(config), "serve"), env=_VLLM_ENVIRONMENT),
        *(Program(words=words, argv=server, env=_VLLM_ENVIRONMENT) for words in _VLLM_MODULES),
    )


def _vllm(config: SandboxConfig) -> tuple[str, ...]:
    return (config.vllm_python, "-P", str(Path(__file__).with_name("vllm_launcher.py")))


def known(config: SandboxConfig) -> tuple[Image, ...]:
    """Every image that this sandbox can run."""
    python, beside = sys.executable, Path(sys.executable).parent
    ours = {"PATH": os.pathsep.join((str(beside), os.environ.get("PATH", os.defpath)))}  # also for what is exec'd there
    return (
        Image(pattern="vllm/vllm-openai*", programs=_vllm_programs(config)),
        Image(
            pattern="vllm/vllm-router*",
            programs=(Program(words=("vllm-router",), argv=(python, "-m", "vllm_router.launch_router")),),
            needs=str(beside / "vllm-router"),
        ),
        Image(
            pattern="prom/prometheus*",
            programs=tuple(Program(words=(word,), argv=("prometheus",)) for word in ("/bin/prometheus", "prometheus")),
            needs="prometheus",
        ),
        *(
            Image(
                pattern=f"drillbook/guardrail-{name}*",
                programs=(Program(words=(name,), argv=(f"guardrail-{name}",), entry=f"{GUARDRAIL_MODULE}:{name}"),),
            )
            for name in ("gateway", "classifier")
        ),
        Image(
            pattern="drillbook*",
            programs=(
                Program(words=("drillbook",), argv=(python, "-m", "drillbook"), env=ours),
                *(Program(words=(word,), argv=(python,), env=ours) for word in ("python3", "python")),
            ),
        ),
        Image(pattern="busybox*", programs=(Program(words=("sh",), argv=("sh",)),), has_entrypoint=False),
    )


def repository(image: str) -> str:
    """The name without registry, tag and digest: ``vllm/vllm-openai`` of ``docker.io/vllm/vllm-openai:v0.32``."""
    name = image.partition("@")[0]
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    return name.partition(":")[0].removeprefix("library/")


def resolve(config: SandboxConfig, image: str, command: Sequence[str], args: Sequence[str]) -> Command:
    """What a container of this image executes: its ``command`` (or the image's own) followed by its ``args``.

    :raises ImageNotFoundError: nothing here stands for the image.
    """
    name = repository(image)
    found = next((one for one in known(config) if fnmatchcase(name, one.pattern)), None)
    if found is None or (found.needs and shutil.which(found.needs) is None):
        full = image if "." in image.partition("/")[0] else f"docker.io/{image if '/' in image else 'library/' + image}"
        raise ImageNotFoundError(
            f'failed to pull and unpack image "{full}": failed to resolve reference "{full}": {full}: not found'
        )
    own = () if args and not found.has_entrypoint else found.programs[0].words
    argv = (*(command or own), *args)
    for program in found.programs:
        if argv[: len(program.words)] == program.words:
            rest = argv[len(program.words) :]
            return Command(argv=(*program.argv, *rest), entry=program.entry, env=program.env)
    return Command(argv=argv, env=found.programs[0].env)


def write_programs(config: SandboxConfig) -> Path:
    """A folder for ``PATH`` in which ``vllm`` is this sandbox's engine, for manifests that start it from a shell."""
    folder = config.path / "bin"
    folder.mkdir(exist_ok=True)
    words = (sys.executable, "-m", "drillbook.sandbox.engine") if config.engine == "sim" else _vllm(config)
    script = folder / "vllm"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return folder
