"""What an experiment file may say: the model's own keys and each fault's, joined, and as JSON Schema for editors."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from functools import cache
from types import GenericAlias
from typing import Annotated, Any, cast

from pydantic import Field, create_model

from drillbook.faults.registry import step_types
from drillbook.model import units
from drillbook.model.experiment import Experiment

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_EXPECTATION: Schema = {
    "description": (
        "[always|eventually|sometimes] probe [operator value] [during phase] [for duration] [within duration [of "
        "inject|effect|undo]], or: alert NAME fires [within …] | stays silent; as a sentence or as a mapping. "
        "`drillbook list probes` shows the probes."
    ),
    "anyOf": [
        {"type": "string", "minLength": 1, "examples": ["goodput >= 95%", "recovered within 90s of inject"]},
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "probe": {"type": "string", "description": "A probe, read once over the whole window."},
                "always": {"type": "string", "description": "A probe, asked of every sliding window."},
                "eventually": {"type": "string", "description": "A probe, asked of one window and all later ones."},
                "sometimes": {"type": "string", "description": "A probe, asked of one window."},
                "alert": {"type": "string", "description": "An alert of the target's Prometheus, that it fires."},
                "stays": {"const": "silent", "description": "... or that it does not."},
                "is": {"type": "string", "description": "Operator and value.", "examples": [">= 95%"]},
                "during": {"enum": ["baseline", "inject", "observe", "undo", "settle"]},
                "for": {"type": "string", "description": "How long it must be so without a break."},
                "within": {"type": "string", "description": "How soon it must be so."},
                "of": {"enum": ["inject", "effect", "undo"]},
            },
        },
    ],
}


@cache
def experiment_type() -> type[Experiment]:
    """The experiment with every known fault's step type, told apart by ``fault``."""
    step: Any = Annotated[functools.reduce(operator.or_, step_types()), Field(discriminator="fault")]
    methods: Any = (GenericAlias(tuple, (step, ...)), Field(min_length=1, description="What is done, step by step."))
    return create_model("Experiment", __base__=Experiment, __doc__=Experiment.__doc__, method=methods)


@cache
def json_schema() -> Schema:
    """JSON Schema (draft 2020-12) of an experiment file, as ``drillbook schema`` prints it."""
    schema = experiment_type().model_json_schema(by_alias=True)
    tidied = cast(Schema, _tidy(schema))
    tidied["$defs"]["Expectation"] = _EXPECTATION
    for definition in [tidied, *tidied["$defs"].values()]:
        for name, value in definition.get("properties", {}).items():
            if name in ("steady-state", "expect", "abort-when"):
                value["items"] = {"$ref": "#/$defs/Expectation"}
            elif name == "bites":
                value["anyOf"] = [{"$ref": "#/$defs/Expectation"}, {"type": "null"}]
    return {"$schema": DIALECT, "title": "A drillbook experiment", **tidied}


def at(path: Sequence[str | int]) -> Schema:
    """The part of the schema that speaks of a place; ``path`` may name union tags, as pydantic's locations do."""
    root = json_schema()
    here = root
    for element in path:
        here = _step(root, here, element)
    return _resolve(root, here)


def _step(root: Schema, here: Schema, element: str | int) -> Schema:
    here = _resolve(root, here)
    if isinstance(element, int):
        return cast(Schema, here.get("items", {}))
    if element in here.get("properties", {}):
        return cast(Schema, here["properties"][element])
    mapping = here.get("discriminator", {}).get("mapping", {})
    return {"$ref": mapping[element]} if element in mapping else here


def _resolve(root: Schema, here: Schema) -> Schema:
    while "$ref" in here:
        here = root["$defs"][here["$ref"].rsplit("/", 1)[-1]]
    return here


def _tidy(value: object) -> object:
    """Drop the titles that pydantic makes of names, and write default quantities with their unit."""
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    tidied = {key: _tidy(item) for key, item in value.items() if not (key == "title" and isinstance(item, str))}
    default, examples = tidied.get("default"), tidied.get("examples")
    if tidied.get("type") == "string" and isinstance(default, float) and isinstance(examples, list):
        tidied["default"] = units.exact(default, units.parse(str(examples[0])).dimension)
    return tidied
