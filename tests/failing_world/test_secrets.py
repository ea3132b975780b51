"""Secrets are planted wherever drillbook meets them; then every byte that it left behind is searched for them."""

from __future__ import annotations

import base64
import os
import signal
from pathlib import Path

import pytest
from drill_bench import HANG, kill
from faulty_proxy import Answer

pytestmark = pytest.mark.root
TOKEN = "eyJhbGciOiJSUzI1NiJ9.planted-token"
CANARY = "planted-canary-4711"
PASSWORD = "planted-password-0815"
SECRETS = (TOKEN, CANARY, PASSWORD)


@pytest.fixture
def planted(bench, monkeypatch):
    """A token in the kubeconfig, and a canary in every environment; a bug's traceback is looked at as well."""
    for name in ("OPENAI_API_KEY", "HF_TOKEN", "DRILLBOOK_TEST_CANARY"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("DRILLBOOK_DEBUG", "1")
    return bench


def assert_silent(bench, *outputs: str) -> int:
    """No secret in what was said, in the run folders, in the tracebacks kept, nor at the target; how much was read."""
    texts = {f"output {number}": output.encode() for number, output in enumerate(outputs)}
    for root in (bench.runs, Path(os.environ["DRILLBOOK_HOME"]) / "tracebacks"):
        texts |= {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    kinds = ("configmaps", "secrets", "pods", "events")
    for place in (
        *(f"api/v1/namespaces/llm/{kind}" for kind in kinds),
        "apis/coordination.k8s.io/v1/namespaces/llm/leases",
    ):
        texts[place] = str(bench.call("GET", f"/{place}")).encode()
    forms = [form for secret in SECRETS for form in (secret.encode(), base64.b64encode(secret.encode()))]
    told = [(name, form) for name, text in texts.items() for form in forms if form in text]
    assert told == []
    return len(texts)


def test_a_run_from_its_start_to_its_report_tells_no_secret(planted):
    running = planted.start_through(planted.experiment(HANG | {"for": "2s"}, observe="4s"), token=TOKEN)
    code, out, err = running.end()
    assert code == 0, out + err
    assert planted.proxy.tokens == {TOKEN}
    assert assert_silent(planted, out, err) > 10


def test_a_killed_run_and_its_watchdog_tell_no_secret(planted):
    running = planted.start_through(planted.experiment(HANG | {"for": "20s"}), token=TOKEN)
    running.fault_is("bit")
    kill(running.process.pid)
    running.process.wait()
    planted.until_put_back()
    assert list(running.folder.glob("undo-watchdog-*.jsonl"))
    assert_silent(planted, *running.process.communicate())


@pytest.mark.parametrize(
    ("answer", "code"),
    [(Answer(401), 4), (Answer(500), 4), (Answer(0), 4), (Answer(200, body=b'{"items": [{}]}'), 70)],
    ids=["401", "500", "a closed connection", "nonsense that leads to a bug"],
)
def test_errors_and_tracebacks_tell_no_secret(planted, answer, code):
    planted.proxy.fault = lambda _method, path: answer if "/pods" in path or answer.code != 200 else None
    running = planted.start_through(planted.experiment(HANG), token=TOKEN)
    ended, out, err = running.end()
    assert ended == code, out + err
    if code == 70:
        assert "Traceback" in err
        assert list((Path(os.environ["DRILLBOOK_HOME"]) / "tracebacks").iterdir())
    assert_silent(planted, out, err)


def test_a_password_in_an_endpoint_s_url_is_refused_before_it_is_written_anywhere(planted):
    endpoint = planted.sandbox.endpoint.replace("http://", f"http://user:{PASSWORD}@")
    running = planted.start(planted.experiment(HANG), "--endpoint", endpoint)
    code, out, err = running.end()
    assert code == 2, out + err
    assert "credentials" in err
    assert_silent(planted, out, err)


def test_what_an_interrupted_run_says_tells_no_secret(planted):
    running = planted.start_through(planted.experiment(HANG | {"for": "20s"}), token=TOKEN)
    running.fault_is("bit")
    running.process.send_signal(signal.SIGINT)
    code, out, err = running.end()
    assert code == 130
    assert_silent(planted, out, err)
