"""Files that are wrong in every way that files are: by mistake, by accident, and on purpose.

``corpus(count, seed)`` breaks the files that ship, so that each is nearly right. ``broken`` tells what was done to it;
``certain`` that it can be no good file any more (some breaks, like a null for a value that may be left out, leave one).
Whoever executes or follows what is planted here leaves ``CANARY`` behind, or shows ``SECRET``.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import histories
import msgspec

ROOT = Path(__file__).resolve().parents[2]
CANARY = "planted-canary-was-here"
"""The name of a file that nothing may write, in the folder that the test runs in."""
SECRET = "planted-secret-d41d8cd98f"
"""What stands in ``planted.jsonl`` beside the drillbook, and in the environment."""
SCRIPT = "<script>planted()</script>"
ESCAPE = "\x1b]0;planted\x07"

LINKS = ("/etc/passwd", "/proc/self/environ", "/dev/zero", "nowhere")
"""Where links of a folder lead out of it, or nowhere; beside these to ``planted.jsonl`` and to themselves."""

Change = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Broken:
    """``path`` is where the file must lie, relative to the folder of a drillbook; a journal's is its run folder."""

    kind: str
    path: str
    data: bytes
    broken: str
    certain: bool
    link: str = ""
    """The file is a symbolic link to this, and ``data`` is none of it."""
    whole: bool = False
    """What is wrong is the whole file: no line is to be told."""


def corpus(count: int, seed: int) -> Iterator[Broken]:
    """``count`` broken files, of all kinds in turn; the same for the same seed."""
    kinds = list(_MAKERS)
    for number in range(count):
        chance = random.Random(f"{seed} {number}")
        broken = _MAKERS[kinds[number % len(kinds)]](number, chance)
        if broken.kind != "journal" and chance.random() < 0.05:
            up = "../" * broken.path.count("/")
            target = chance.choice((*LINKS, f"{up}../planted.jsonl", Path(broken.path).name))
            broken = replace(broken, data=b"", broken=f"link to {target}", certain=True, whole=True, link=target)
        yield broken


# -- what is done to bytes ---------------------------------------------------------------------------------------------


def _line(data: bytes, chance: random.Random) -> tuple[list[bytes], int]:
    rows = data.split(b"\n")
    return rows, chance.randrange(len(rows))


def _insert(data: bytes, chance: random.Random, new: bytes) -> bytes:
    rows, at = _line(data, chance)
    return b"\n".join([*rows[:at], new, *rows[at:]])


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(1, len(data))]


def flip(data: bytes, chance: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 5, 50))):
        found[chance.randrange(len(found))] = chance.randrange(256)
    return bytes(found)


def swap_lines(data: bytes, chance: random.Random) -> bytes:
    rows, at = _line(data, chance)
    other = chance.randrange(len(rows))
    rows[at], rows[other] = rows[other], rows[at]
    return b"\n".join(rows)


def lose_line(data: bytes, chance: random.Random) -> bytes:
    rows, at = _line(data, chance)
    return b"\n".join(rows[:at] + rows[at + 1 :])


def indent(data: bytes, chance: random.Random) -> bytes:
    rows, at = _line(data, chance)
    return b"\n".join([*rows[:at], b" " * chance.randrange(1, 9) + rows[at], *rows[at + 1 :]])


VALUES = (
    b"null", b"[]", b"{}", b"true", b"-1", b"0", b"1e999", b".nan", b".inf", b"9" * 400, b"1" + b"0" * 5000,
    b'""', b"[[[[[[]]]]]]", b"{a: {b: {c: 1}}}", b"2026-01-01", b"0x1F", b"1_000", b"~", b'"\\0"', b"'\x85'", b"y",
    b"[1, two, {three: 3}]", b"${HOME}", b"!!float 5", b"5 seconds", b"-0s", b"1e400s", b"99999999999999999999d",
    SCRIPT.encode(), b'"' + b"A" * 20_000 + b'"', b"../" * 40 + b"etc/passwd",
)  # fmt: skip


def other_value(data: bytes, chance: random.Random) -> bytes:
    """Another type, or a number that nothing holds, at any key."""
    rows = data.split(b"\n")
    places = [at for at, row in enumerate(rows) if b": " in row]
    at = chance.choice(places)
    rows[at] = rows[at].partition(b": ")[0] + b": " + chance.choice(VALUES)
    return b"\n".join(rows)


def nul(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + b"\0" * chance.choice((1, 3)) + data[at:]


def not_utf8(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    while data[at] & 0xC0 == 0x80:  # not inside a character
        at -= 1
    return data[:at] + chance.choice((b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80")) + data[at:]


def escape(data: bytes, chance: random.Random) -> bytes:
    return _insert(data, chance, ESCAPE.encode())


def unknown_key(data: bytes, chance: random.Random) -> bytes:
    word = "".join(chance.choice("abcdefghij-") for _ in range(8)).strip("-")
    return data + f"\nx{word}: {chance.randrange(9)}\n".encode()


def duplicate_key(data: bytes, chance: random.Random) -> bytes:
    rows = [row for row in data.split(b"\n") if row and row[:1].isalpha() and b":" in row]
    return data + b"\n" + chance.choice(rows).partition(b":")[0] + b": again\n"


def alias_bomb(data: bytes, chance: random.Random) -> bytes:
    rows = [b"\nxa: &a [x, x, x, x, x, x, x, x, x, x]"]
    names = b"abcdefghijklmnop"[: chance.randrange(8, 15)]
    for last, name in itertools.pairwise(names):
        rows.append(b"x%c: &%c [%b]" % (name, name, b", ".join([b"*%c" % last] * 10)))
    return data + b"\n".join(rows) + b"\n"


def self_reference(data: bytes, _: random.Random) -> bytes:
    return data + b"\nxself: &me [*me]\n"


def deep(data: bytes, chance: random.Random) -> bytes:
    depth = chance.choice((50, 5_000, 60_000))
    return data + b"\nxdeep: " + chance.choice((b"[" * depth + b"]" * depth, b"{a: " * depth, b"[" * depth)) + b"\n"


def objects(data: bytes, chance: random.Random) -> bytes:
    """YAML that builds objects where a loader lets it."""
    tag = chance.choice(
        (
            f"!!python/object/apply:os.system ['touch {CANARY}']",
            f"!!python/object/new:subprocess.Popen [['touch', '{CANARY}']]",
            f"!!python/object/apply:builtins.open ['{CANARY}', 'w']",
            "!!python/name:os.system",
            "!!python/module:antigravity",
            "!!binary c2VjcmV0",
            "!!set {a, b}",
            "!include /etc/passwd",
            "!ENV ${HOME}",
        )
    )
    return data + f"\nxobject: {tag}\n".encode()


def second_document(data: bytes, _: random.Random) -> bytes:
    return data + b"\n---\ntitle: another\n"


def merge_key(data: bytes, _: random.Random) -> bytes:
    return data + b"\nxbase: &base {a: 1}\nxmore: {<<: *base}\n"


def tabs(data: bytes, chance: random.Random) -> bytes:
    return _insert(data, chance, b"\t\tkey: value")


def huge(data: bytes, chance: random.Random) -> bytes:
    return data + b"\n" + chance.choice((b"x: y\n" * 100_000, b"#" * 3_000_000, b"x: " + b"y" * 2_000_000))


def nothing(_: bytes, chance: random.Random) -> bytes:
    return chance.choice(
        (b"", b"\n", b"# only a comment\n", b"\xef\xbb\xbf", b"null", b"[]", b"5", b"- a\n- b\n", b"---\n")
    )


def noise(_: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(1, 3000))


UNSURE: tuple[Change, ...] = (cut, flip, swap_lines, lose_line, indent, other_value)
SURE: tuple[Change, ...] = (
    nul, not_utf8, escape, unknown_key, duplicate_key, alias_bomb, self_reference, deep, objects, second_document,
    merge_key, tabs, huge, nothing,
)  # fmt: skip


WHOLE = ("huge", "nothing")
"""Breaks of which no line is to blame."""

# -- the kinds ---------------------------------------------------------------------------------------------------------


@cache
def _shipped(pattern: str) -> tuple[bytes, ...]:
    found = tuple(path.read_bytes() for path in sorted(ROOT.glob(pattern)))
    assert found, pattern
    return found


def _yaml(data: bytes, chance: random.Random) -> tuple[bytes, str, bool]:
    certain = chance.random() < 0.6
    change = chance.choice(SURE if certain else UNSURE)
    return change(data, chance), change.__name__, certain


TRAVERSALS = (
    "../../../../etc/passwd", "/etc/passwd", "..", "a/../../b", "../../planted.jsonl", "/proc/self/environ",
    "~/.ssh/id_rsa", "pod-kill\x00", "C:\\\\windows",
    "%2e%2e%2fetc", "file:///etc/passwd", "a" * 300, "con\nfused", "$(touch x)", "`x`",
)  # fmt: skip


def experiment(number: int, chance: random.Random) -> Broken:
    data = chance.choice(_shipped("experiments/*/*.yaml"))
    if chance.random() < 0.15:
        text = json.dumps(chance.choice(TRAVERSALS))
        key = chance.choice(("playbook", "load", "target", "fault"))
        line = {
            "playbook": f"playbook: {text}",
            "load": f"load: {{rate: 1/s, prompts: {text}}}",
            "target": f"target: {{stack: {text}, namespace: {text}}}",
            "fault": f"method: [{{fault: {text}, role: {text}}}]",
        }[key]
        rows = [row for row in data.decode().split("\n") if not row.startswith(f"{line.partition(':')[0]}:")]
        # what stood under the key that is gone is left hanging: wrong twice
        return Broken("experiment", f"experiments/x/e{number}.yaml", "\n".join([*rows, line, ""]).encode(), key, False)
    found, how, certain = _yaml(data, chance)
    return Broken("experiment", f"experiments/x/e{number}.yaml", found, how, certain, whole=how in WHOLE)


TEMPLATES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('touch " + CANARY + "').read() }}",
    "{{ lipsum.__globals__['os'].system('touch " + CANARY + "') }}",
    "{% for a in range(10**9) %}{% for b in range(10**9) %}{% endfor %}{% endfor %}",
    "{{ 'a' * 10**10 }}", "{{ 10**10**10 }}", "{% include '/etc/passwd' %}", "{% import 'os' as os %}",
    "{{ self.__init__.__globals__ }}", "{{ namespace.__class__ }}", "{% set namespace = 1 %}", "{{ unknown_name }}",
    "{{ model", "{% if %}", "{{ model | map('system') }}", "{{ model() }}",
    "{% macro x() %}{{ x() }}{% endmacro %}{{ x() }}",
    "{{ '%s' % model }}", "{{ model.format(model) }}", "{{ request.application.__globals__ }}", "{# never closed",
)  # fmt: skip


def playbook(number: int, chance: random.Random) -> Broken:
    data = chance.choice([one for one in _shipped("playbooks/*.yaml") if b"failure-mode" in one])
    if chance.random() < 0.4:
        template = chance.choice(TEMPLATES)
        rows = data.decode().split("\n")
        at = next(place for place, row in enumerate(rows) if row.startswith("title:"))
        rows[at] = f"title: {json.dumps(template)}"
        return Broken("playbook", f"playbooks/p{number}.yaml", "\n".join(rows).encode(), template, True)
    found, how, certain = _yaml(data, chance)
    return Broken("playbook", f"playbooks/p{number}.yaml", found, how, certain, whole=how in WHOLE)


def plan(number: int, chance: random.Random) -> Broken:
    """A plan of attacks, or what tells a guardrail's way of saying no."""
    signals = chance.random() < 0.4
    data = chance.choice(_shipped("adversarial/signals/*.yaml" if signals else "adversarial/*.yaml"))
    found, how, certain = _yaml(data, chance)
    path = f"adversarial/{'signals/' * signals}p{number}.yaml"
    return Broken("plan", path, found, how, certain, whole=how in WHOLE)


PYTHON = (
    b"def (", b"x = '", b"\0", b"import os\n\xff\xfe", b"(" * 50_000, b"-" * 100_000 + b"1", b"@probe(1)\ndef f(): ...",
    b"@probe('x')\ndef f(): ...", b"@probe(name, dimension='count')\ndef f(): ...", b"x = " + b"9" * 100_000,
    b"@probe('x', dimension='lightyears')\ndef f(): ...", b"@probe('x', dimension=DIM)\ndef f(): ...",
    b"@probe('x', dimension='count')\ndef f(): ...\n@probe('x', dimension='count')\ndef g(): ...",
    b"@probe('goodput', dimension='share')\ndef f(): ...", b"\tif x:\n  y", b"f'{" * 200, b"lambda: (yield)\nreturn",
    b"@probe(**{}, dimension='count')\ndef f(): ...", b"# coding: nonsense\n", b"# coding: utf-7\n+AAAAAA-",
    b"[" * 300 + b"]" * 300,
)  # fmt: skip
SPIES = f"""
import os, pathlib, subprocess
pathlib.Path({CANARY!r}).touch()
subprocess.run(["touch", {CANARY!r}], check=False)
""".encode()


def probe(number: int, chance: random.Random) -> Broken:
    if chance.random() < 0.5:
        part = chance.choice(PYTHON)
        return Broken("probe", f"probes/p{number}.py", SPIES + part, repr(part[:40]), False)
    change = chance.choice((cut, flip, swap_lines, indent, nul, not_utf8, noise, lose_line))
    data = change(SPIES + chance.choice(_shipped("probes/*.py")), chance)
    return Broken("probe", f"probes/p{number}.py", data, change.__name__, False)


def chaostoolkit(number: int, chance: random.Random) -> Broken:
    whole = {
        "title": "t",
        "description": "d",
        "steady-state-hypothesis": {
            "title": "s",
            "probes": [
                {
                    "type": "probe",
                    "name": "p",
                    "tolerance": 200,
                    "provider": {"type": "http", "url": "http://127.0.0.1:9"},
                }
            ],
        },
        "method": [
            {
                "type": "action",
                "name": "a",
                "provider": {"type": "process", "path": "touch", "arguments": CANARY, "timeout": 5},
            }
        ],
        "rollbacks": [],
    }
    if chance.random() < 0.5:
        holder, key = chance.choice(list(_places(whole)))
        holder[key] = chance.choice(
            (
                None,
                5,
                [],
                {},
                "x",
                [[]],
                {"type": "probe"},
                float("inf"),
                -1,
                True,
                10**400,
                "../../etc/passwd",
                "${x}",
                "\0",
                SCRIPT,
            )
        )
        try:
            data = json.dumps(whole).encode()
        except ValueError:  # an integer that Python itself does not write
            data = json.dumps(whole, default=str).encode()
        return Broken("chaostoolkit", f"experiments/x/c{number}.json", data, f"{key} replaced", False)
    change = chance.choice((cut, flip, nul, not_utf8, noise, nothing))
    return Broken(
        "chaostoolkit",
        f"experiments/x/c{number}.json",
        change(json.dumps(whole, indent=1).encode(), chance),
        change.__name__,
        False,
    )


def _places(value: object) -> Iterator[tuple[dict | list, str | int]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield value, key
        yield from _places(item)


def pack(number: int, chance: random.Random) -> Broken:
    data = b"".join(chance.choice(_shipped("adversarial/packs/*.jsonl")).splitlines(keepends=True)[:20])
    rows = data.splitlines()
    how = chance.choice(("key", "value", "pattern", "twice", "nul", "bytes", "cut", "noise", "deep", "nothing"))
    at = chance.randrange(len(rows))
    row = json.loads(rows[at])
    match how:
        case "key":
            rows[at] = json.dumps(row | {"promt": "x"}).encode()
        case "value":
            rows[at] = json.dumps(row | {chance.choice(list(row)): chance.choice((5, None, [], {}, [5]))}).encode()
        case "pattern":
            rows[at] = json.dumps(
                row | {"violation": chance.choice(("(", "[", "*", "(?P<a>", "a{99999999999}"))}
            ).encode()
        case "twice":
            rows.append(rows[at])
        case "deep":
            rows[at] = b'{"id": ' + b"[" * 5000
        case "nul":
            rows[at] = nul(rows[at], chance)
        case "bytes":
            rows[at] = not_utf8(rows[at], chance)
        case "cut":
            rows[at] = cut(rows[at], chance)
        case "noise":
            rows[at] = b"x" + noise(b"", chance).replace(b"\n", b" ")
        case "nothing":
            rows = [b""]
    data = b"\n".join(rows) + b"\n"
    return Broken("pack", f"adversarial/p{number}.jsonl", data, how, how != "value", whole=how in WHOLE)


@cache
def _journal() -> tuple[bytes, dict[str, bytes]]:
    """The control log of a run that held, and the files beside it, each with one writer."""
    run = histories.Run(expect=["goodput >= 50%"]).start().pods().inject().load(end=13).health(end=13).end(12, settle=1)
    for one in run.requests:
        run.add(one.sent - histories.ZERO, one, "requests-1")
    files: dict[str, list[bytes]] = {}
    for line in run.lines:
        files.setdefault(line.writer, []).append(msgspec.json.encode(line) + b"\n")
    control = b"".join(files.pop("runner"))
    return control, {f"{writer}.jsonl": b"".join(rows) for writer, rows in files.items()}


def whole_journal() -> dict[str, bytes]:
    """The files of a run that held, by name: without those beside the control log nothing could be held at all."""
    control, beside = _journal()
    return beside | {"journal.jsonl": control}


def journal(number: int, chance: random.Random) -> Broken:
    data, _ = _journal()
    if chance.random() < 0.4:
        rows = data.split(b"\n")
        at = chance.randrange(len(rows) - 1)
        line = json.loads(rows[at])
        holder, key = chance.choice(list(_places(line)))
        new = chance.choice(
            (None, 5, -1, [], {}, "x", SCRIPT, ESCAPE, "\0", 10**30, "../" * 9, 1e308, -1e308, True, "{{ 7 }}")
        )
        holder[key] = new
        rows[at] = json.dumps(line).encode()
        return Broken("journal", f"runs/x/{number}", b"\n".join(rows), f"{key} = {new!r:.30}", False)
    change = chance.choice((cut, flip, swap_lines, lose_line, nul, not_utf8, noise, escape, huge, nothing))
    found = change(data, chance)
    certain = change is not flip and found not in (data, data[:-1])  # a last line may lack its newline
    return Broken("journal", f"runs/x/{number}", found, change.__name__, certain)


_MAKERS: dict[str, Callable[[int, random.Random], Broken]] = {
    "experiment": experiment,
    "playbook": playbook,
    "probe": probe,
    "chaostoolkit": chaostoolkit,
    "pack": pack,
    "plan": plan,
    "journal": journal,
}
