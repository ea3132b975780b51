"""The user's Python: executed only where it is trusted, by content, and never under a generic name.

``drillbook trust`` stores the SHA-256 of each Python file of a drillbook, or of one file that names what it executes,
under the state folder; one changed byte and the file is a stranger again. What comes with drillbook itself is trusted.
Files are loaded by path as ``drillbook_site.<kind>.<name>``: nothing is added to ``sys.path``, nothing needs an
``__init__.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from drillbook import catalog
from drillbook.errors import InvalidFileError, Problem, UsageError

_PACKAGE = "drillbook_site"


class UntrustedError(UsageError):
    """Python that nobody has vouched for; the hint says how to."""


def state_folder() -> Path:
    """Where drillbook keeps what outlives a run: ``$DRILLBOOK_HOME``, else ``drillbook`` in the XDG state folder."""
    if home := os.environ.get("DRILLBOOK_HOME"):
        return Path(home)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state and Path(state).is_absolute() else Path.home() / ".local" / "state") / "drillbook"


def python_files(root: Path) -> dict[str, str]:
    """The Python files in the five folders of a drillbook, each with the SHA-256 of its content."""
    home = root.resolve()
    found: dict[str, str] = {}
    for kind in catalog.KINDS:
        for path in sorted((home / kind).rglob("*.py")):
            if path.is_file() and path.resolve().is_relative_to(home):
                found[path.relative_to(home).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def trust(root: Path) -> dict[str, str]:
    """Vouch for the Python of a drillbook as it is now; returns what was vouched for."""
    files = python_files(root)
    _store(_trusted() | {str(root.resolve()): files})
    return files


def revoke(root: Path) -> bool:
    """Vouch no more; False if nobody had."""
    trusted = _trusted()
    known = trusted.pop(str(root.resolve()), None) is not None
    _store(trusted)
    return known


def trust_file(path: Path) -> str:
    """Vouch for one file that executes what it names (a Chaos Toolkit experiment), as it is now; gives its SHA-256."""
    real = path.resolve()
    digest = hashlib.sha256(real.read_bytes()).hexdigest()
    _store(_trusted() | {str(real): {real.name: digest}})
    return digest


def must_trust(path: Path, digest: str, why: str) -> None:
    """Refuse a file that was never vouched for by ``trust_file`` with this very content.

    Raises:
        UntrustedError: it was not; ``why`` says what it would do.

    """
    real = path.resolve()
    known = _trusted().get(str(real), {}).get(real.name)
    if known != digest:
        state = "has changed since it was trusted" if known else "is not trusted yet"
        raise UntrustedError(f"{path} {state}, and {why}", f"read it, then run: drillbook trust {path}")


def load(path: Path) -> ModuleType:
    """Execute one Python file of a drillbook's five folders, if it is trusted.

    Raises:
        UntrustedError: nobody vouched for its content.
        InvalidFileError: it cannot be read, or fails when executed.

    """
    real = path.resolve()
    try:
        data = real.read_bytes()
    except OSError as error:
        raise InvalidFileError.of(path, [Problem(str(path), 0, 0, f"cannot be read: {error.strerror}")]) from error
    root, kind = _place(real)
    digest = hashlib.sha256(data).hexdigest()
    # The bytes that were hashed are the bytes that are compiled: the file is not read again.
    if root != catalog.own_root().resolve():
        _vouched(root, real, digest)
    inside = real.relative_to(root / kind).with_suffix("").parts
    name = ".".join(part.replace("-", "_").replace(".", "_") for part in (_PACKAGE, kind, *inside))
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__drillbook_sha256__", None) == digest and loaded.__file__ == str(real):
        return loaded
    return _execute(name, real, data, digest)


def _place(real: Path) -> tuple[Path, str]:
    """The drillbook that a file belongs to, and which of the five folders it is in."""
    for folder in real.parents:
        if folder.name in catalog.KINDS:
            root = folder.parent
            if root == catalog.own_root().resolve() or catalog.user_root(root) == root:
                return root, folder.name
    raise UsageError(
        f"{real} lies in no drillbook", "Python is only loaded from its five folders; `drillbook init` makes them"
    )


def _vouched(root: Path, real: Path, digest: str) -> None:
    files = _trusted().get(str(root), {})
    relative = real.relative_to(root).as_posix()
    if files.get(relative) == digest:
        return
    why = "has changed since it was trusted" if relative in files else "is not trusted yet"
    raise UntrustedError(f"{real} {why}, and would be executed", f"read it, then run: drillbook trust {root}")


def _execute(name: str, real: Path, data: bytes, digest: str) -> ModuleType:
    parts = name.split(".")
    for count in range(1, len(parts)):
        parent = ".".join(parts[:count])
        if parent not in sys.modules:
            package = ModuleType(parent, "Python of a drillbook's folders, loaded by path.")
            package.__path__ = []
            sys.modules[parent] = package
    module = ModuleType(name)
    module.__file__ = str(real)
    module.__drillbook_sha256__ = digest  # type: ignore[attr-defined]  # our own mark, read back in `load`
    sys.modules[name] = module
    try:
        exec(compile(data, str(real), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - vouched for, see `load`
    except (Exception, SystemExit) as error:  # whatever a user's module raises, and `exit()`, is told with its line
        del sys.modules[name]
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(real)]
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames else 0
        problem = Problem(str(real), line or 0, 1 if line else 0, f"fails when loaded: {type(error).__name__}: {error}")
        raise InvalidFileError.of(real, [problem]) from error
    return module


def _trusted() -> dict[str, Mapping[str, str]]:
    try:
        stored = json.loads((state_folder() / "trust.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        # An unreadable list vouches for nothing; the next `drillbook trust` writes it anew.
        return {}
    if not isinstance(stored, dict):
        return {}
    return {str(root): files for root, files in stored.items() if isinstance(files, dict)}


def _store(trusted: Mapping[str, Mapping[str, str]]) -> None:
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = folder / f"trust.json.{os.getpid()}"
    fresh.write_text(json.dumps(trusted, indent=1, sort_keys=True), encoding="utf-8")
    fresh.chmod(0o600)
    fresh.replace(folder / "trust.json")
