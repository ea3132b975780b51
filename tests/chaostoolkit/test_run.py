"""Chaos Toolkit's experiments as drillbook runs them: providers, configuration, secrets, controls, rollbacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from drillbook.chaostoolkit import journal as journals
from drillbook.chaostoolkit.judge import judge
from drillbook.chaostoolkit.load import load
from drillbook.chaostoolkit.mainthread import MainThread
from drillbook.chaostoolkit.run import run
from drillbook.errors import PreflightError
from drillbook.model.verdict import UndoState, Verdict
from drillbook.site import trust_file


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Trust and run an experiment in this process; gives its journal as it lies on the disk, and the judgement."""
    monkeypatch.setenv("DRILLBOOK_HOME", str(tmp_path / "home"))

    def execute(method=(), probes=(), rollbacks=(), **more):
        data = {"title": "T", "description": "D", "method": list(method), "rollbacks": list(rollbacks), **more}
        if probes:
            data["steady-state-hypothesis"] = {"title": "H", "probes": list(probes)}
        path = tmp_path / "x.json"
        path.write_text(json.dumps(data))
        trust_file(path)
        main, experiment = MainThread(), load(path)
        written = main.serve(lambda: run(experiment, tmp_path / "runs", lambda _: None, main))
        folder = written.path.parent
        journal = journals.read(folder)
        assert judge(journal) == judge(journal)
        return journal, judge(journal)

    return execute


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Python modules of the experiment's own, importable for one test."""
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    (tmp_path / "modules").mkdir()
    names = []

    def module(name, source):
        (tmp_path / "modules" / f"{name}.py").write_text(textwrap.dedent(source))
        names.append(name)
        return name

    yield module
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def server():
    """Answers with what was asked, and with 403 below /refused."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            told = json.dumps({"path": self.path, "body": body, "method": self.command, "x": self.headers.get("X-A")})
            self.send_response(403 if self.path.startswith("/refused") else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(told.encode())

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def process(path, arguments=(), kind="action", **more):
    name = more.pop("name", f"{kind} {path}")
    return {"type": kind, "name": name, "provider": {"type": "process", "path": path, "arguments": arguments}, **more}


def python(name, func, kind="action", arguments=None, **more):
    provider = {"type": "python", "module": name, "func": func, "arguments": arguments or {}}
    return {"type": kind, "name": more.pop("name", func), "provider": {**provider, **more.pop("provider", {})}, **more}


def http(url, kind="probe", **more):
    tolerance = {"tolerance": more.pop("tolerance")} if "tolerance" in more else {}
    return {"type": kind, "name": url.rpartition("/")[2], "provider": {"type": "http", "url": url, **more}, **tolerance}


OK = process("true", kind="probe", tolerance=0, name="fine")


def test_an_http_action_sends_what_it_says_and_a_tolerance_reads_the_answer(execute, server):
    tolerance = {"type": "jsonpath", "path": "$.path", "expect": "/get?a=1&a=2", "target": "body"}
    probe = http(f"{server}/get", tolerance=tolerance, arguments={"a": [1, 2]}, headers={"X-A": "b"})
    action = http(
        f"{server}/post", "action", method="POST", headers={"Content-Type": "application/json"}, arguments={"n": 1}
    )
    journal, found = execute([action], [probe])
    assert found.verdict is Verdict.HELD
    assert json.loads(journal["run"][0]["output"]["body"]["body"]) == {"n": 1}
    assert journal["steady_states"]["before"]["probes"][0]["output"]["body"]["x"] == "b"


def test_a_refused_http_action_is_no_fault(execute, server):
    journal, found = execute([http(f"{server}/refused", "action", method="DELETE")], [OK])
    assert journal["run"][0]["status"] == "failed"
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "answered with 403" in found.reason


def test_a_service_that_does_not_answer_before_is_no_baseline_and_after_is_a_finding(execute, server, tmp_path):
    dead = http("http://127.0.0.1:9/health", tolerance=200)
    journal, found = execute([process("true")], [dead], [process("true", name="undo")])
    assert (found.verdict, found.undo) == (Verdict.INCONCLUSIVE, UndoState.NOTHING)
    assert journal["run"] == journal["rollbacks"] == []
    strategy = {"hypothesis": {"strategy": "after-method-only"}}
    _, found = execute([process("true")], [dead], runtime=strategy)
    assert found.verdict is Verdict.REFUTED


def test_a_program_that_ends_badly_is_a_failed_action_and_its_words_are_kept(execute):
    journal, found = execute([process("sh", ["-c", "echo refused >&2; exit 3"])], [OK])
    assert journal["run"][0]["output"]["status"] == 3
    assert "ended with 3: refused" in found.reason
    assert found.verdict is Verdict.INCONCLUSIVE


def test_a_program_that_takes_too_long_is_killed_with_all_that_it_started(execute, tmp_path):
    mark = tmp_path / "late"
    command = f"(sleep 1; touch {mark}) & sleep 30"
    journal, found = execute([process("sh", ["-c", command], timeout=0.3)], [OK], [process("sleep", ["1.2"])])
    assert "took longer than 0.3 s and was killed" in journal["run"][0]["exception"][0]
    assert not mark.exists()
    assert found.undo is UndoState.CLEAN


def test_a_process_that_an_action_leaves_behind_on_purpose_is_left(execute, tmp_path):
    mark = tmp_path / "pid"
    _, found = execute([process("sh", ["-c", f"sleep 3 >/dev/null 2>&1 & echo $! > {mark}"])], [OK])
    assert found.verdict is Verdict.HELD
    assert (mark.parent / f"/proc/{mark.read_text().strip()}").exists()


def test_variables_come_from_the_file_the_environment_and_probes(execute, monkeypatch):
    monkeypatch.setenv("COUNT", "7")
    configuration = {
        "plain": "a",
        "count": {"type": "env", "key": "COUNT", "env_var_type": "int"},
        "absent": {"type": "env", "key": "NOT_THERE_AT_ALL", "default": "d"},
        "measured": process("echo", ["now"], "probe"),
    }
    arguments = ["${plain}", "x-${count}", "${absent}", "${measured}", "${unknown}"]
    journal, _ = execute([process("echo", arguments)], [OK], configuration=configuration)
    assert journal["run"][0]["output"]["stdout"] == "a x-7 d now ${unknown}\n"


def test_a_missing_variable_stops_before_anything_is_touched(execute, tmp_path):
    with pytest.raises(PreflightError, match="NOT_THERE_AT_ALL, which is not set"):
        execute([process("true")], [OK], configuration={"x": {"type": "env", "key": "NOT_THERE_AT_ALL"}})
    with pytest.raises(PreflightError, match="could not be measured: exit code 1"):
        execute([process("true")], [OK], configuration={"x": process("false", kind="probe")})
    assert not (tmp_path / "runs").exists()


def test_secrets_reach_the_activity_and_nothing_that_is_written(execute, module, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("TOKEN", "hunter2-canary")
    name = module(
        "uses_secrets", "def use(secrets, configuration): raise ValueError(secrets['token'] + configuration['a'])"
    )
    action = python(name, "use", provider={"secrets": ["api"]})
    echo = process(
        "echo",
        ["${token}"],
        kind="probe",
        name="echo",
        tolerance={"type": "regex", "pattern": "hunter2", "target": "stdout"},
    )
    secrets = {"api": {"token": {"type": "env", "key": "TOKEN"}, "other": "literal-canary"}}
    journal, found = execute([action], [echo], secrets=secrets, configuration={"a": "!"})
    assert "********!" in journal["run"][0]["exception"][0]
    assert journal["steady_states"]["before"]["steady_state_met"]
    written = b"".join(path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file())
    assert b"canary" not in written
    assert "canary" not in found.reason + "".join(capfd.readouterr())


def test_a_value_from_outside_never_becomes_shell_code(execute, tmp_path):
    mark = tmp_path / "injected"
    configuration = {"name": process("echo", [f"x; touch {mark}"], "probe")}
    journal, found = execute([process("echo", "hello ${name}")], [OK], configuration=configuration)
    assert not mark.exists()
    assert "a shell would act upon" in found.reason
    journal, found = execute([process("echo", "hello ${name} | tr a-z A-Z")], [OK], configuration={"name": "bob"})
    assert journal["run"][0]["output"]["stdout"] == "HELLO BOB\n"


def test_background_activities_run_beside_the_others_and_are_waited_for(execute):
    slow = process("sleep", ["0.5"], name="slow", background=True)
    journal, found = execute([slow, process("true", name="quick")], [OK])
    quick, slow = sorted(journal["run"], key=lambda item: item["end"])
    assert (quick["activity"]["name"], slow["activity"]["name"]) == ("quick", "slow")
    assert found.verdict is Verdict.HELD


def test_the_tolerance_of_a_probe_in_the_method_counts(execute):
    _, found = execute([process("true"), process("false", kind="probe", tolerance=0, name="asked")], [OK])
    assert found.verdict is Verdict.REFUTED


def test_without_anything_expected_nothing_is_held(execute):
    _, found = execute([process("true")])
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "nothing could be refuted" in found.reason


def test_all_rollbacks_are_played_whatever_one_of_them_does_and_a_failed_one_is_told(execute):
    rollbacks = [process("false", name="first"), process("true", name="second")]
    journal, found = execute([process("true")], [OK], rollbacks)
    assert [item["status"] for item in journal["rollbacks"]] == ["failed", "succeeded"]
    assert (found.undo, int(found.exit_code)) == (UndoState.REMAINS, 5)


def test_rollbacks_are_left_out_only_where_the_experiment_itself_says_never_and_that_is_told(execute):
    runtime = {"rollbacks": {"strategy": "never"}}
    journal, found = execute([process("true")], [OK], [process("true", name="undo")], runtime=runtime)
    assert journal["rollbacks"] == []
    assert any("still in place" in finding.reason for finding in found.findings)


def test_a_dry_activity_is_not_carried_out_and_proves_nothing(execute, tmp_path):
    mark = tmp_path / "mark"
    _, found = execute([process("touch", [str(mark)])], [OK], dry="actions")
    assert not mark.exists()
    assert found.verdict is Verdict.INCONCLUSIVE


CONTROL = """
    CALLS = []
    class Handler:
        def finish(self, journal): CALLS.append("finish")
    def configure_control(experiment, event_registry, note): event_registry.register(Handler()); CALLS.append(note)
    def before_experiment_control(context, **kwargs): CALLS.append("before experiment")
    def before_method_control(context): CALLS.append("before method")
    def before_activity_control(context, secrets): CALLS.append(f"before {context['name']}")
    def after_activity_control(context, state): CALLS.append(f"after {state['status']}")
    def after_rollback_control(context, state): CALLS.append(f"after rollback {len(state)}")
    def after_experiment_control(context, state): CALLS.append(f"after {state['status']}")
    def cleanup_control(): CALLS.append("cleanup")
"""


def control(name, **arguments):
    return {"name": name, "provider": {"type": "python", "module": name, "arguments": arguments}}


def test_controls_are_called_around_every_part(execute, module):
    name = module("control_calls", CONTROL)
    execute([process("true", name="a")], [], [process("true", name="r")], controls=[control(name, note="configured")])
    assert sys.modules[name].CALLS == [
        "configured", "before experiment", "before method", "before a", "after succeeded", "before r",
        "after succeeded", "after rollback 1", "after completed", "cleanup", "finish",
    ]  # fmt: skip


def test_a_control_that_fails_makes_the_run_inconclusive(execute, module):
    name = module("control_fails", "def before_method_control(context): raise KeyError('guard')")
    _, found = execute([process("true")], [OK], controls=[control(name)])
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "failed in before_method_control: KeyError" in found.reason


def test_a_control_that_cannot_be_set_up_stops_before_anything_is_touched(execute, module, tmp_path):
    name = module("control_refuses", "def configure_control(): raise OSError('no guard')")
    with pytest.raises(PreflightError, match="no guard"):
        execute([process("true")], [OK], controls=[control(name)])
    assert not (tmp_path / "runs").exists()


def test_a_control_that_interrupts_aborts_the_run_and_the_rollbacks_are_played(execute, module):
    name = module("control_interrupts", """
        class InterruptExecution(Exception): pass
        def after_activity_control(context, state):
            if context["name"] == "a": raise InterruptExecution("enough")
    """)  # fmt: skip
    journal, found = execute(
        [process("true", name="a"), process("true", name="b")],
        [OK],
        [process("true", name="r")],
        controls=[control(name)],
    )
    assert [item["activity"]["name"] for item in journal["run"]] == ["a"]
    assert [item["status"] for item in journal["rollbacks"]] == ["succeeded"]
    assert (journal["status"], found.verdict) == ("aborted", Verdict.REFUTED)


@pytest.mark.parametrize(
    ("source", "arguments", "told"),
    [
        ("", {}, "has no function 'f'"),
        ("def f(a): pass", {}, "also needs a"),
        ("def f(a): pass", {"a": 1, "b": 2}, "takes no b"),
        ("import no_such_thing", {}, "No module named 'no_such_thing'"),
        ("raise SystemError('odd')", {}, "odd"),
    ],
)
def test_what_cannot_be_called_is_known_before_anything_is_touched(execute, module, source, arguments, told):
    with pytest.raises(PreflightError, match=told):
        execute([python(module("not_callable", source), "f", arguments=arguments)], [OK])


def test_an_action_that_wants_to_end_the_program_ends_itself(execute, module):
    name = module("exits", "import sys\ndef f(): sys.exit(0)")
    journal, found = execute([python(name, "f")], [OK], [process("true", name="undo")])
    assert "wanted to end the program" in journal["run"][0]["exception"][0]
    assert found.undo is UndoState.CLEAN


def test_an_action_that_cannot_be_ended_keeps_no_rollback_and_no_one_waiting_and_is_told(tmp_path):
    """In a process of its own: it holds the main thread, and the run ends all the same."""
    lines = ["import threading", "def f():", " while True:", "  try: threading.Event().wait(60)", "  except: pass"]
    (tmp_path / "stubborn.py").write_text("\n".join(lines))
    data = {"title": "T", "description": "D", "method": [python("stubborn", "f", timeout=0.2)]}
    data["rollbacks"] = [process("true", name="undo")]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(data))
    env = os.environ | {"DRILLBOOK_HOME": str(tmp_path / "home"), "PYTHONPATH": str(tmp_path)}
    drillbook = [sys.executable, "-m", "drillbook"]
    subprocess.run([*drillbook, "trust", str(path)], env=env, check=True, capture_output=True)
    ended = subprocess.run(
        [*drillbook, "run", str(path)], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=40
    )
    assert ended.returncode == 5, ended.stderr
    assert "SOMETHING MAY BE LEFT" in ended.stdout
    journal = journals.read(next((tmp_path / "runs").glob("x/2*")))
    assert journal["drillbook"]["still-running"] == ["action stubborn.f"]
    assert [item["status"] for item in journal["rollbacks"]] == ["succeeded"]


ALIKE = """
    CALLS = []
    def before_activity_control(context): CALLS.append("before " + context["name"])
    def after_activity_control(context): CALLS.append("after " + context["name"])
"""


@pytest.mark.parametrize(
    ("declared", "own", "calls"),
    [
        ({"scope": "before"}, False, ["before a", "before b"]),
        ({"scope": "after"}, False, ["after a", "after b"]),
        ({"automatic": False}, False, []),
        ({"automatic": False}, True, ["before b", "after b"]),
        (None, True, ["before b", "after b"]),
    ],
    ids=["before", "after", "not by itself", "where it is named", "of one activity"],
)
def test_a_control_is_called_where_and_when_it_is_declared(execute, module, declared, own, calls):
    name = module("control_scope", ALIKE)
    b = process("true", name="b", controls=[control(name)] if own else [])
    execute([process("true", name="a"), b], [], controls=[] if declared is None else [{**control(name), **declared}])
    assert calls == sys.modules[name].CALLS


@pytest.mark.parametrize(
    ("strategy", "broken", "played"),
    [("deviated", True, 1), ("deviated", False, 0), ("always", False, 1), ("default", True, 1), ("never", True, 0)],
)
def test_rollbacks_are_played_as_their_strategy_says(execute, tmp_path, strategy, broken, played):
    mark = tmp_path / "mark"
    steady = process("test", ["!", "-e", str(mark)], "probe", tolerance=0, name="whole")
    action = process("touch", [str(mark)]) if broken else process("true")
    runtime = {"rollbacks": {"strategy": strategy}}
    journal, _ = execute([action], [steady], [process("rm", ["-f", str(mark)])], runtime=runtime)
    assert journal["deviated"] is broken
    assert len(journal["rollbacks"]) == played


@pytest.mark.parametrize(
    ("strategy", "asked"),
    [("default", "before after"), ("before-method-only", "before"), ("after-method-only", "after"),
     ("during-method-only", "during"), ("continuously", "before during after")],
)  # fmt: skip
def test_the_steady_state_is_asked_when_its_strategy_says(execute, strategy, asked):
    runtime = {"hypothesis": {"strategy": strategy}}
    journal, found = execute([process("sleep", ["0.2"])], [OK], runtime=runtime)
    states = journal["steady_states"]
    assert [name for name in ("before", "during", "after") if states[name]] == asked.split()
    assert found.verdict is (Verdict.INCONCLUSIVE if strategy == "before-method-only" else Verdict.HELD)
