"""What exists, by kind: the user's own five folders first, then those that come with drillbook.

The user's drillbook is the nearest folder, from the working directory upwards, that has ``experiments`` and one more of
the five. Drillbook's own catalog travels in the wheel; in a checkout it is the checkout itself. Names are looked up
in listings and never joined to paths, so no name of a file can lead out of the folders; neither can a link.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from drillbook.errors import InvalidFileError, Problem, UsageError
from drillbook.model.expectation import suggest
from drillbook.model.units import Dimension

KINDS: Mapping[str, tuple[str, ...]] = {
    "experiments": (".yaml", ".yml"),
    "probes": (".py", ".yaml", ".yml"),
    "adversarial": (".jsonl", ".yaml", ".yml"),
    "playbooks": (".yaml", ".yml"),
    "reports": (".j2", ".css", ".yaml"),
}
"""The five folders, and what counts in each."""

ALERTS = "alerts.yaml"
"""The file of Prometheus' alert rules beside the playbooks: it is none of them."""

_MAX_FILES = 2_000
_MAX_DEPTH = 4
_MAX_SOURCE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of one kind. ``group`` is its folder (a failure mode); empty at the top."""

    kind: str
    name: str
    path: Path
    group: str
    own: bool
    """True where it comes with drillbook, False where it is the user's."""


def user_root(start: Path | None = None) -> Path | None:
    """The user's drillbook that ``start`` (the working directory) lies in, if it does."""
    here = (start or Path.cwd()).absolute()
    for folder in [here, *here.parents]:
        present = [kind for kind in KINDS if (folder / kind).is_dir()]
        if "experiments" in present and len(present) > 1:
            return folder
    return None


@cache
def own_root() -> Path:
    """Where drillbook's own five folders are: in the wheel, else in the checkout that drillbook is imported from.

    Raises:
        UsageError: neither is there; the installation is broken.

    """
    package = Path(__file__).resolve().parent
    for root in (package / "_catalog", package.parent):
        if (root / "experiments").is_dir() and (root / "playbooks").is_dir():
            return root
    raise UsageError("drillbook's own experiments are not where they were installed", "install drillbook again")


def entries(kind: str, start: Path | None = None) -> list[Entry]:
    """All files of a kind, the user's first; of equal names in both, the user's alone."""
    found: dict[tuple[str, str], Entry] = {}
    mine = user_root(start)
    for root in dict.fromkeys(root for root in (mine, own_root()) if root is not None):
        for entry in _scan(root, kind, own=root.resolve() == own_root().resolve()):
            found.setdefault((entry.group, entry.name), entry)
    return list(found.values())


def find(kind: str, name: str, start: Path | None = None) -> Path:
    """The file that is called ``name`` (``pod-kill``, ``replica-loss/pod-kill``), or the path itself.

    Raises:
        UsageError: there is none, or several; says which names are close.
        InvalidFileError: it is a link out of its drillbook.

    """
    path = Path(name)
    if path.suffix in KINDS[kind] and (path.exists() or len(path.parts) > 1):
        if not path.is_file():
            raise UsageError(f"there is no file {name}", f"`drillbook list {kind}` shows what there is")
        return within(path)
    known = entries(kind, start)
    wanted = name.removesuffix(path.suffix) if path.suffix in KINDS[kind] else name
    matches = [entry for entry in known if wanted in (entry.name, f"{entry.group}/{entry.name}")]
    if len(matches) == 1:
        return near(matches[0].path)
    if matches:
        choices = " or ".join(f"{entry.group}/{entry.name}" for entry in matches)
        raise UsageError(f"{len(matches)} {kind} are called {name!r}", f"say which: {choices}")
    hint = suggest(name, {entry.name: None for entry in known}) if known else ""
    raise UsageError(f"no {singular(kind)} is called {name!r}", f"{hint}\n`drillbook list {kind}` shows all".strip())


def within(path: Path) -> Path:
    """The path of a file, unless it is a link that leads out of the drillbook that it lies in.

    Raises:
        InvalidFileError: it does.

    """
    if leads_out(path):
        told = Problem(str(path), 1, 0, "this is a link that leads out of the drillbook", "put a copy in its place")
        raise InvalidFileError.of(path, [told])
    return path


def leads_out(path: Path, start: Path | None = None) -> bool:
    """Whether a file is elsewhere than in the drillbook that ``start`` (its own folder) lies in, if it does in one.

    A checkout of somebody else's would have what lies elsewhere shown, a line of it in each problem, or sent.
    """
    root = user_root(Path(os.path.normpath((start or path.parent).absolute())))
    return root is not None and path.is_file() and not path.resolve().is_relative_to(root.resolve())


def alert_rules(start: Path | None = None) -> Path:
    """The file of alert rules: the user's ``playbooks/alerts.yaml``, else drillbook's."""
    mine = user_root(start)
    return next(
        path for root in (mine, own_root()) if root is not None and (path := root / "playbooks" / ALERTS).is_file()
    )


def near(path: Path) -> Path:
    """The path as a person in the working directory would write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def singular(kind: str) -> str:
    return {"adversarial": "adversarial pack"}.get(kind, kind.removesuffix("s"))


def declared_probes(start: Path | None = None) -> dict[str, Dimension]:
    """The probes that Python files in the ``probes`` folders declare, read without executing them.

    A file that is no Python declares nothing here; ``drillbook validate`` tells what is wrong with it.
    """
    found: dict[str, Dimension] = {}
    for entry in entries("probes", start):
        if entry.path.suffix == ".py":
            try:
                found = declarations(entry.path) | found
            except InvalidFileError:
                continue
    return found


def declarations(path: Path) -> dict[str, Dimension]:
    """The probes that one Python file declares as ``@probe("name", dimension="count")``, with what they count.

    Raises:
        InvalidFileError: it cannot be read, is no Python, or declares a probe that cannot be read without executing it.

    """
    found: dict[str, Dimension] = {}
    problems: list[Problem] = []
    for call in _probe_calls(path):
        words = {keyword.arg: keyword.value for keyword in call.keywords}
        name = _text(call.args[0] if call.args else words.get("name"))
        dimension = _text(words.get("dimension"))
        place = (str(path), call.lineno, call.col_offset + 1)
        if name is None or dimension is None:
            missing = "name" if name is None else "dimension"
            hint = 'for example: @probe("queue-length", dimension="count")'
            problems.append(Problem(*place, f"the {missing} of a probe is written here as a plain text", hint))
        elif dimension not in list(Dimension):
            problems.append(
                Problem(*place, f"no dimension is called {dimension!r}", suggest(dimension, tuple(Dimension)))
            )
        elif name in found:
            problems.append(Problem(*place, f"the probe {name!r} is declared twice"))
        else:
            found[name] = Dimension(dimension)
    if problems:
        raise InvalidFileError.of(path, problems)
    return found


def _probe_calls(path: Path) -> Iterator[ast.Call]:
    source = b""
    try:
        with path.open("rb") as file:
            source = file.read(_MAX_SOURCE)
        tree = ast.parse(source)
    except SyntaxError as error:
        line = error.lineno or source.partition(b"\0")[0].count(b"\n") + 1  # of a NUL Python tells no line
        problem = Problem(str(path), line, error.offset or 0, f"this is no Python: {error.msg}")
        raise InvalidFileError.of(path, [problem]) from error
    except UnicodeDecodeError as error:
        problem = Problem(str(path), source[: error.start].count(b"\n") + 1, 0, f"this is not UTF-8: {error.reason}")
        raise InvalidFileError.of(path, [problem]) from error
    except (OSError, ValueError) as error:
        raise InvalidFileError.of(path, [Problem(str(path), 0, 0, f"cannot be read: {error}")]) from error
    except (RecursionError, MemoryError) as error:
        problem = Problem(str(path), 1, 0, "cannot be read: an expression in it is nested too deeply for Python")
        raise InvalidFileError.of(path, [problem]) from error
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).rpartition(".")[2] == "probe":
                    yield decorator


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _scan(root: Path, kind: str, *, own: bool) -> Iterator[Entry]:
    top = root / kind
    home = root.resolve()
    seen = 0
    for folder, folders, files in os.walk(top):
        here = Path(folder)
        depth = len(here.relative_to(top).parts)
        folders[:] = sorted(name for name in folders if name[0] not in "._" and depth < _MAX_DEPTH)
        for name in sorted(files):
            path = here / name
            seen += 1
            if seen > _MAX_FILES:
                return
            # A link that leads out of the folder would let a checkout show, or later run, what lies elsewhere.
            rules = kind == "playbooks" and path == top / ALERTS
            if name[0] in "._" or path.suffix not in KINDS[kind] or rules or not path.is_file():  # a link may be a loop
                continue
            if path.resolve().is_relative_to(home):
                group = here.relative_to(top).as_posix()
                yield Entry(kind, path.stem, path, "" if group == "." else group, own)
