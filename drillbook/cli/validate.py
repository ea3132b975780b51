"""``drillbook validate``: every problem of every file, with its place."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from drillbook import catalog
from drillbook.adversarial import packs, signals
from drillbook.adversarial import plan as plans
from drillbook.chaostoolkit.load import is_chaos_toolkit
from drillbook.chaostoolkit.load import load as load_chaos_toolkit
from drillbook.errors import Exit, InvalidFileError, Problem, UsageError
from drillbook.experiments.load import Loaded, load
from drillbook.playbooks import load as playbooks
from drillbook.playbooks import texts
from drillbook.probes.registry import PROBES, dimensions


@click.command()
@click.argument("paths", nargs=-1, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: files that are ok, and problems.")
@click.pass_context
def command(ctx: click.Context, paths: tuple[str, ...], as_json: bool) -> None:
    """Check experiments, probes, packs, plans and playbooks, and tell every problem with its place.

    PATHS are files, folders or names; without any, everything in this drillbook. Python in `probes` is read and never
    executed. Exits 2 if there is any problem.
    """
    good: list[dict[str, Any]] = []
    failures: list[InvalidFileError] = []
    files = _files(paths)
    for path in files:
        try:
            checked = _check(path)
        except InvalidFileError as error:
            failures.append(error)
            continue
        good.append(checked)
        if not as_json:
            click.echo(f"ok  {path}: {checked['summary']}")
    problems = [problem for error in failures for problem in error.problems]
    if as_json:
        click.echo(json.dumps({"ok": good, "problems": [asdict(problem) for problem in problems]}, indent=2))
        ctx.exit(Exit.USAGE if failures else Exit.HELD)
    if failures:
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        raise InvalidFileError(f"{count} in {len(failures)} of {len(files)} files", problems=problems)


def _files(paths: tuple[str, ...]) -> list[Path]:
    """The files to check: those named, those in the folders named, or all of the drillbook around us."""
    found: list[Path] = []
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found += _below(path)
        else:
            found.append(path if path.is_file() else catalog.find("experiments", text))
    if not paths:
        found = _below(catalog.user_root() or catalog.own_root())
    if not found:
        where = ", ".join(paths) or "this drillbook"
        raise UsageError(f"there is nothing to check in {where}", "`drillbook init` writes a first experiment")
    return [catalog.near(path) for path in dict.fromkeys(found)]


def _below(folder: Path) -> list[Path]:
    """All that can be checked in a drillbook, or all YAML files of any other folder."""
    if not (folder / "experiments").is_dir():
        kind = "adversarial" if _is_adversarial(folder / "x") else "experiments"
        return sorted(path for path in folder.rglob("*") if path.suffix in catalog.KINDS[kind])
    suffixes = {**catalog.KINDS, "probes": (".py",), "reports": ()}
    return [
        path
        for kind, wanted in suffixes.items()
        for path in sorted((folder / kind).rglob("*"))
        if path.suffix in wanted
    ]


def _check(path: Path) -> dict[str, Any]:
    catalog.within(path)
    if path.suffix == ".py":
        return _probes(path)
    if _is_adversarial(path):
        return _adversarial(path)
    if path.absolute().parent.name == "playbooks":
        title = texts.fill(playbooks.load(path).title, {}, texts.Language.PROSE)
        return {"file": str(path), "title": title, "summary": f"{title} (playbook)"}
    if is_chaos_toolkit(path):
        data = load_chaos_toolkit(path).data
        return {"file": str(path), "title": data["title"], "summary": f"{data['title']} (Chaos Toolkit)"}
    return _described(load(path))


def _is_adversarial(path: Path) -> bool:
    return path.suffix == ".jsonl" or "adversarial" in [folder.name for folder in path.absolute().parents][:2]


def _adversarial(path: Path) -> dict[str, Any]:
    if path.suffix == ".jsonl":
        prompts = packs.read(path)
        kinds = ", ".join(dict.fromkeys(prompt.kind.value for prompt in prompts))
        return {"file": str(path), "prompts": len(prompts), "summary": f"{len(prompts)} prompts (pack: {kinds})"}
    if path.absolute().parent.name == plans.SIGNALS:
        title = signals.read(path).title
        return {"file": str(path), "title": title, "summary": f"{title} (signals)"}
    title = plans.read(path, dimensions()).title
    return {"file": str(path), "title": title, "summary": f"{title} (plan of attacks)"}


def _probes(path: Path) -> dict[str, Any]:
    names = sorted(catalog.declarations(path))
    if taken := [name for name in names if name in PROBES]:
        message = f"drillbook has a probe of this name already: {', '.join(taken)}"
        hint = "give yours another name; `drillbook list probes` shows those that are taken"
        before, _, _ = path.read_text(encoding="utf-8", errors="replace").partition(taken[0])
        raise InvalidFileError.of(path, [Problem(str(path), before.count("\n") + 1, 0, message, hint)])
    return {"file": str(path), "probes": names, "summary": f"probes {', '.join(names)}" if names else "no probes"}


def _described(loaded: Loaded) -> dict[str, Any]:
    experiment = loaded.experiment
    faults = [step.fault for step in experiment.method]
    expectations = [wanted.text for wanted in experiment.expect]
    count = f"{len(expectations)} expectation{'' if len(expectations) == 1 else 's'}"
    return {
        "file": str(loaded.path),
        "title": experiment.title,
        "faults": faults,
        "expectations": expectations,
        "sha256": loaded.sha256,
        "summary": f"{experiment.title} ({', '.join(faults)}; {count})",
    }
