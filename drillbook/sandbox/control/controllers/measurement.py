"""One measurement of an AnalysisRun: asked of Prometheus or of any web address, and judged by its conditions.

Of Argo Rollouts' providers these two (the third, ``job``, is in ``analysisjobs``), and of its expressions what analyses
mostly say: comparisons of ``result`` or ``result[0]``, ``len(result)`` and ``isNaN(…)``, joined by ``&&`` and ``||``
(https://argo-rollouts.readthedocs.io/en/stable/features/analysis/).
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Mapping
from typing import Any

import aiohttp

from drillbook.sandbox.control.controllers import canary
from drillbook.sandbox.control.objects import Json

_ARGUMENT = re.compile(r"\{\{\s*args\.([\w-]+)\s*\}\}")
_TERM = re.compile(
    r"(?P<what>len\(result\)|isNaN\(result(?:\[0\])?\)|result(?:\[0\])?)(?:\s*(?P<sign>==|!=|<=|>=|<|>)\s*(?P<to>.+))?"
)
_SIGNS = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_PATH = re.compile(r"\.([\w-]+)|\[(\d+)\]")


def filled(value: Any, arguments: Mapping[str, str]) -> Any:
    """``{{args.NAME}}`` in every string replaced. Raises ValueError: an argument that nobody gave."""
    if isinstance(value, dict):
        return {key: filled(each, arguments) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, arguments) for each in value]
    if not isinstance(value, str):
        return value

    def given(match: re.Match[str]) -> str:
        if match[1] not in arguments:
            raise ValueError(f"no value for {{{{args.{match[1]}}}}}")
        return arguments[match[1]]

    return _ARGUMENT.sub(given, value)


def judged(metric: Json, result: Any) -> str:
    """``Successful``, ``Failed`` or ``Inconclusive``. Raises ValueError: a condition that is not understood."""
    success, failure = metric.get("successCondition"), metric.get("failureCondition")
    if failure and holds(failure, result):
        return "Failed"
    if not success or holds(success, result):
        return "Successful"
    return "Inconclusive" if failure else "Failed"


def holds(condition: str, result: Any) -> bool:
    """Whether a condition is true of a result. Raises ValueError."""
    return any(all(_true(term.strip(), result) for term in way.split("&&")) for way in condition.split("||"))


def _true(term: str, result: Any) -> bool:
    match = _TERM.fullmatch(term)
    if match is None:
        raise ValueError(f"the condition {term!r} is not understood")
    if match["what"] == "len(result)":
        value: Any = len(result)
    else:
        value = result
        if "[0]" in match["what"]:
            if not result:
                raise ValueError("the result is empty")
            value = result[0]
    if match["what"].startswith("isNaN"):
        return isinstance(value, float) and math.isnan(value)
    if match["sign"] is None:
        return value is True
    wanted = json.loads(re.sub(r"^'(.*)'$", r'"\1"', match["to"]))
    try:
        return bool(_SIGNS[match["sign"]](value, wanted))
    except TypeError:
        raise ValueError(f"{value!r} cannot be compared with {wanted!r}") from None


async def measure(provider: Json, address: Mapping[str, str]) -> Any:
    """Ask once. ``address``: where each Service is, by ``name.namespace``.

    :raises ValueError: no answer, none that can be read, or a provider that the sandbox does not know.
    """
    try:
        if "prometheus" in provider:
            return await _prometheus(provider["prometheus"], address)
        if "web" in provider:
            return await _web(provider["web"], address)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ValueError(f"no answer: {error or type(error).__name__}") from None
    raise ValueError(f"the sandbox knows the providers prometheus, web and job, not {', '.join(provider)}")


async def _prometheus(said: Json, address: Mapping[str, str]) -> list[float]:
    url = _resolved(str(said["address"]), address) + "/api/v1/query"
    async with _session(said.get("timeout", 10)) as session, session.get(url, params={"query": said["query"]}) as reply:
        answer = await _read(reply)
    if answer.get("status") != "success":
        raise ValueError(f"Prometheus says {answer.get('error') or reply.status}")
    data = answer["data"]
    rows = [data["result"]] if data["resultType"] == "scalar" else [row["value"] for row in data["result"]]
    return [float(value) for _, value in rows]


async def _web(said: Json, address: Mapping[str, str]) -> Any:
    headers = {row["key"]: str(row["value"]) for row in said.get("headers") or ()}
    url, method = _resolved(str(said["url"]), address), str(said.get("method", "GET"))
    body = {"json": said["jsonBody"]} if "jsonBody" in said else {"data": said["body"]} if "body" in said else {}
    async with (
        _session(said.get("timeoutSeconds", 10)) as session,
        session.request(method, url, headers=headers, **body) as reply,
    ):
        if not 200 <= reply.status < 300:
            raise ValueError(f"{url} answers {reply.status}")
        answer = await _read(reply)
    for key, place in _PATH.findall(str(said.get("jsonPath", ""))):
        try:
            answer = answer[key] if key else answer[int(place)]
        except (KeyError, IndexError, TypeError):
            raise ValueError(f"the answer has no {said['jsonPath']}") from None
    return answer


def _session(limit: object) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=canary.seconds(limit)), trust_env=False)


async def _read(reply: aiohttp.ClientResponse) -> Any:
    try:
        return json.loads(await reply.text())
    except ValueError:
        raise ValueError(f"{reply.url} answers {reply.status} and no JSON") from None


def _resolved(url: str, address: Mapping[str, str]) -> str:
    """The name of a Service, which no resolver of the machine knows, as its address."""
    for name, at in address.items():
        url = re.sub(rf"^(https?://){re.escape(name)}(\.svc(\.cluster\.local)?)?(?=[:/]|$)", rf"\g<1>{at}", url)
    return url
