"""An experiment file, as pydantic reads it: short enough to write by hand, strict enough to check by machine.

Keys are written in kebab-case. The faults add their own step types (``drillbook/experiments/schema.py`` joins them);
expectations are parsed here, with the probes that the validation context brings (``{"probes": {name: dimension}}``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    SerializeAsAny,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

from drillbook.model import expectation, units
from drillbook.model.expectation import Expectation, ExpectationError
from drillbook.model.units import Dimension

Label = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
"""A name as Kubernetes takes it: lower case, digits, dots and dashes, at most 63 characters."""


@dataclass(frozen=True)
class _Written:
    """How a quantity of one dimension stands in a file: read with its unit, written back exactly."""

    dimension: Dimension
    pattern: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(
            self.read,
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: units.exact(value, self.dimension), return_schema=core_schema.str_schema()
            ),
        )

    def __get_pydantic_json_schema__(self, _: core_schema.CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": self.pattern, "examples": self.dimension.example.split(", ")}

    def read(self, value: object) -> float:
        if isinstance(value, str):
            return units.parse_as(value, self.dimension)
        raise ValueError(f"a {self.dimension.value} is written with its unit, for example {self.dimension.example}")


Duration = Annotated[float, _Written(Dimension.DURATION, r"^[0-9]+(\.[0-9]+)?(us|ms|s|m|min|h)$")]
Share = Annotated[float, _Written(Dimension.SHARE, r"^[0-9]+(\.[0-9]+)?%$")]
Rate = Annotated[float, _Written(Dimension.RATE, r"^[0-9]+(\.[0-9]+)?/(s|m|min|h)$")]


def _read_expectation(value: object, info: ValidationInfo) -> Expectation:
    probes: Mapping[str, Dimension | None] = (info.context or {}).get("probes", {})
    if isinstance(value, Mapping):
        value = expectation.from_mapping(value)
    if not isinstance(value, str):
        raise PydanticCustomError(
            "expectation", "an expectation is a sentence such as 'goodput >= 95%', or its YAML form"
        )
    try:
        return expectation.parse(value, probes)
    except ExpectationError as error:
        raise PydanticCustomError(
            "expectation",
            "{message}",
            {"message": error.message, "text": error.text, "at": error.at, "hint": error.hint},
        ) from None


Expected = Annotated[
    Any,
    BeforeValidator(_read_expectation),
    PlainSerializer(lambda value: value.text, return_type=str),
    Field(json_schema_extra={"type": "string"}),
]
"""An ``Expectation``; typed Any because pydantic has no schema for msgspec structs."""


class FileModel(BaseModel):
    """Base of everything read from YAML: unknown keys are errors, values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.strip("_").replace("_", "-"),
        populate_by_name=True,
        use_attribute_docstrings=True,
        defer_build=True,  # of dozens of steps a file uses few
    )


class HelperSpec(FileModel):
    """The helper pods of faults that no API call reaches: they run privileged on the victim's node."""

    image: str | None = None
    """An image with Python and drillbook; drillbook's own of the same version otherwise."""
    python: str = "python3"
    """The image's Python that has drillbook."""
    namespace: Label | None = None
    """Where they run, if the target's namespace does not allow privileged pods."""
    pod: dict[str, Any] = {}
    """Laid over the pod's ``spec``; lists of named things (``containers: [{name: helper, …}]``) go name by name."""


class RollbackSpec(FileModel):
    """What takes a bad revision back where no controller does: the policy of the target's own pipeline."""

    after: Literal["progress-deadline", "analysis", "alert"] = "progress-deadline"
    """The signal that it acts upon."""
    within: Duration = Field(default=60.0, gt=0)
    """From that signal until the former revision is asked for again."""
    by: str = ""
    """Who or what does it, for people: ``kubectl rollout undo``."""


class TargetSpec(FileModel):
    """A deployment: its stack, its place, its endpoint. What is not said is found (``drillbook doctor`` shows how)."""

    stack: str = "auto"
    """A stack's name (``drillbook list stacks``); ``auto`` looks at the labels of the pods."""
    sandbox: str | None = None
    """What a sandbox runs for this experiment (``drillbook sandbox up --stack``), where ``stack`` does not tell."""
    namespace: Label | None = None
    """Defaults to the stack's usual namespace in the sandbox, and to the context's namespace on a cluster."""
    context: str | None = None
    """A context of the kubeconfig, or ``sandbox``. The command line's ``--context`` or ``--sandbox`` wins."""
    endpoint: str | None = Field(default=None, pattern=r"^https?://")
    """Base URL of the OpenAI-compatible API (without ``/v1``); found through the router's Service otherwise."""
    model: str | None = None
    """The served model's name; asked of ``/v1/models`` otherwise."""
    selectors: dict[str, str] = {}
    """A label selector by role, instead of the stack's own."""
    prometheus: str | None = Field(default=None, pattern=r"^https?://")
    """Base URL of the Prometheus that scrapes this deployment; found through a Service of the namespace otherwise."""
    alertmanager: str | None = Field(default=None, pattern=r"^https?://")
    """Base URL of its Alertmanager, where what it made of each alert shall be told too."""
    helper: HelperSpec = HelperSpec()
    rollback: RollbackSpec | None = None
    """That a bad revision is taken back without a person, and how: Kubernetes takes no Deployment back by itself."""


class LoadSpec(FileModel):
    """Open-loop traffic: arrivals never wait for answers."""

    rate: Rate
    arrivals: Literal["poisson", "constant"] = "poisson"
    prompts: str = "chat"
    """A prompt set that comes with drillbook, or a JSONL file beside the experiment."""
    output_tokens: int = Field(default=48, ge=1, le=100_000)
    stream: bool = True
    api: Literal["chat", "completions"] = "chat"
    stall_timeout: Duration = 10.0
    """A request that shows no progress for this long is ``hung``: the patience of a user."""
    timeout: Duration = 60.0
    """The longest a request may take in all."""
    max_lag: Duration = 0.05
    """The generator's own lag (99th percentile) above which its measurements are not to be trusted."""
    seed: int = 1
    sessions: int | None = Field(default=None, ge=1)
    """How many users' sessions the requests belong to, drawn by the seed; without it a request belongs to none."""
    session_header: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,64}$")
    """The header that names a request's session; vllm-router's ``X-Session-Id`` otherwise."""
    engine: Literal["drillbook", "locust"] = "drillbook"
    """What sends it: drillbook's own process, or Locust (``pip install 'drillbook[locust]'``)."""
    workers: int = Field(default=1, ge=1, le=64)
    """Of Locust: how many processes share the rate, under its master."""
    place: Literal["processes", "pods"] = Field(default="processes", alias="in")
    """Where they run: on the machine of the drill, or as pods of the target's cluster."""

    @model_validator(mode="after")
    def _can_share(self) -> Self:
        if self.workers > 1 and self.engine != "locust":
            raise ValueError("more than one worker needs `engine: locust`; drillbook's own generator is one process")
        if self.place == "pods" and self.engine != "locust":
            raise ValueError("`in: pods` needs `engine: locust`; drillbook's own generator runs where the drill does")
        return self


class AttackSpec(FileModel):
    """Adversarial prompts beside the load, through all phases: a plan, or one pack by itself."""

    plan: str | None = None
    """A plan (``drillbook list plans``), or a YAML file beside the experiment."""
    pack: str | None = None
    """A pack (``drillbook list packs``), or a JSONL file beside the experiment."""
    rate: Rate | None = None
    """Of all its prompts together; what is not said here is taken from the plan."""
    stream: bool | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=100_000)
    seed: int | None = None
    cap: int | None = Field(default=None, ge=1)
    """Most prompts of each part, chosen by the seed."""

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if (self.plan is None) == (self.pack is None):
            raise ValueError("an attack names either a plan or a pack")
        return self


class QuerySpec(FileModel):
    """A probe of one's own in PromQL, asked of the target's Prometheus once a second."""

    promql: str = Field(min_length=1, max_length=4000)
    """Gives one value: a scalar, or a vector of one series (``sum(...)``)."""
    unit: Literal["duration", "share", "rate", "count"]
    """What the value counts: seconds, a share of 1, events per second, or a plain number."""


class SloSpec(FileModel):
    """What a *good* answer is beside being complete: goodput counts requests that are ok and within these."""

    ttft: Duration | None = None
    itl: Duration | None = None
    """Bound on the request's mean time per output token after the first (TPOT)."""
    e2e: Duration | None = None


class Limits(FileModel):
    """The blast radius that a plan may not exceed; it refuses before anything is touched."""

    replicas: int | None = Field(default=None, ge=0)
    gpus: int | None = Field(default=None, ge=0)
    capacity_left: Share = 0.3
    """Least share of the engines that stays untouched by all steps together."""


class Step(FileModel):
    """One step of the method. Each fault extends this with its own keys."""

    held: ClassVar[bool] = True
    """False where the fault is done in a moment and has no undo (a killed pod): such a step takes no ``for``."""

    fault: str
    at: Duration = 0.0
    for_: Duration | None = None
    """How long the fault is held before its own undo; without it, until the end of the observation."""
    bites: Expected | None = None
    """What must be seen for the fault to count as having taken effect, beside the fault's own proof."""


class PodStep(Step):
    """A step that picks pods by role."""

    role: str = "engine"
    count: int | Literal["all"] = Field(default=1)
    names: tuple[str, ...] = ()
    """These very pods, instead of ``count`` chosen by the run's seed."""


class Experiment(FileModel):
    """One YAML file: target, load, steady state, method, expectations, abort conditions, playbook."""

    title: str = Field(min_length=1, max_length=200)
    why: str = ""
    tags: tuple[str, ...] = ()
    target: TargetSpec = TargetSpec()
    load: LoadSpec
    attacks: tuple[AttackSpec, ...] = ()
    slo: SloSpec = SloSpec()
    queries: dict[Annotated[str, Field(pattern=r"^[A-Za-z][\w.-]*$")], QuerySpec] = {}
    """Probes in PromQL by their names, for the expectations below."""
    warm_up: Duration = 30.0
    """The longest time that load runs before the baseline, for cold engines; it ends once the steady state is seen."""
    baseline: Duration = 15.0
    steady_state: tuple[Expected, ...] = Field(min_length=1)
    method: tuple[SerializeAsAny[Step], ...] = Field(min_length=1)
    expect: tuple[Expected, ...] = Field(min_length=1)
    abort_when: tuple[Expected, ...] = ()
    limits: Limits = Limits()
    observe: Duration = 120.0
    """The longest observation after the last step; it ends earlier when every *eventually* is settled."""
    settle: Duration = 5.0
    playbook: str | None = None
    """The playbook (failure mode) that a run fills in."""
