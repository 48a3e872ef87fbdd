"""Every field of a score with its default and constraint (score-format §1), and the checks between fields.

`Score.model_validate` takes what YAML gave and what `model_dump(mode="json")` gave alike: the second is what travels to the
coordinator and is stored. Paths are strings as written; `load` anchors them. A section that is null was not written; its
defaults are those of its class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ipc.priorities import HIGHEST, LOWEST, number_of
from ipc.score.expand import graph_faults
from ipc.score.expressions import FUNCTIONS, ExpressionError, compile_expression
from ipc.score.fields import (
    ONE_LINE,
    Count,
    Fault,
    Fraction,
    Int,
    Number,
    Positive,
    Regex,
    Seconds,
    Section,
    Text,
    TextMap,
    Variables,
    defaults,
    fail,
    int_keys,
    regex,
    text_or_texts,
)
from ipc.score.optional import (
    AiReview,
    Bridge,
    Checkpoints,
    Concert,
    Conductor,
    CrossSheet,
    Feedback,
    Grounding,
    Hook,
    Isolation,
    Learning,
    Logging,
    Notification,
    WorkspaceLifecycle,
)
from ipc.score.problems import suggestion
from ipc.score.variables import BUILT_INS

#: The backends that Mozart has or will have; any other name is a profile's.
BACKENDS = (
    "claude_cli",
    "codex_cli",
    "gemini_cli",
    "opencode_cli",
    "command",
    "anthropic_api",
    "ollama",
    "recursive_light",
)
#: Profiles that come with Mozart.
SHIPPED_PROFILES = ("aider", "bash", "crush", "cursor-agent", "goose", "qwen-code")

_COMMAND_HINT = "write `command: [program, argument]`"


# ---- backend --------------------------------------------------------------------------------------------------------


class Ollama(Section):
    base_url: Text = "http://localhost:11434"
    model: Text = "llama3.1:8b"
    num_ctx: Int = Field(32768, ge=4096)
    dynamic_tools: bool = True
    compression_level: Literal["minimal", "moderate", "aggressive"] = "moderate"
    timeout_seconds: Positive = 300.0
    keep_alive: Text = "5m"
    max_tool_iterations: Int = Field(10, ge=1, le=50)
    health_check_timeout: Positive = 10.0


class RecursiveLight(Section):
    endpoint: Text = "http://localhost:8080"
    user_id: Text | None = None
    timeout: Positive = 30.0


class _BackendFields(Section):
    type: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "claude_cli"
    command: Annotated[list[Text] | Text | None, BeforeValidator(text_or_texts)] = None
    prompt_is: Literal["text", "script"] | None = Field(
        None,
        description="A script is run as it is: what Mozart has to say stands in the file $MOZART_NOTES. "
        "null: as the command shows.",
    )
    env: TextMap = {}
    skip_permissions: bool = True
    disable_mcp: bool = True
    output_format: Literal["json", "text", "stream-json"] = "stream-json"
    cli_model: Text | None = None
    model: Text = "claude-sonnet-4-20250514"
    allowed_tools: list[Text] | None = None
    system_prompt_file: Text | None = None
    system_prompt_text: Text | None = None
    """What that file said when the score was read: put here by `load`."""
    working_directory: Text | None = None
    timeout_seconds: Positive = 1800.0
    timeout_overrides: Annotated[dict[Int, Positive], BeforeValidator(int_keys)] = {}
    cli_extra_args: list[Text] = []
    max_output_capture_bytes: Int = Field(10240, gt=0)
    resume_session: Literal["auto", "never"] = "auto"
    pty: bool = False
    account: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")] | None = None
    """Whose login it uses, in a name of one's own: limits are shared by what has the same."""
    profile: dict[str, Any] | None = None
    """What a profile's file says: put here by `load`, or written in the score itself."""
    api_key_env: Text = "ANTHROPIC_API_KEY"
    max_tokens: Int = Field(8192, ge=1)
    temperature: Fraction = 0.7
    ollama: Ollama = defaults()
    recursive_light: RecursiveLight = defaults()


#: Seconds.
FALLBACK_WAIT = 900.0


class Fallback(_BackendFields):
    """What is different when a sheet runs elsewhere, because its own backend is held for longer than `max_wait` seconds or
    its program is missing. Dumps what is set alone, as `BackendOverride` does."""

    max_wait: Seconds = FALLBACK_WAIT

    @model_serializer(mode="wrap")
    def _only_set(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if name in self.model_fields_set}


class Backend(_BackendFields):
    fallbacks: list[Fallback] = []

    def timeout_of(self, n: int) -> float:
        """Seconds that an attempt of sheet n may take on it."""
        return self.timeout_overrides.get(n, self.timeout_seconds)

    @model_validator(mode="after")
    def _check_command(self) -> Self:
        if self.type == "command" and not self.command:
            fail([("E302", ("command",), "the backend `command` needs a command", _COMMAND_HINT)])
        fail(list(_fallback_faults(self.fallbacks, self.command, self.type)))
        return self


class BackendOverride(_BackendFields):
    """What one sheet sets differently. Dumps those fields alone, so that they can be laid over the score's."""

    fallbacks: list[Fallback] = []

    @model_serializer(mode="wrap")
    def _only_set(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if name in self.model_fields_set}


def _fallback_faults(fallbacks: list[Fallback], command: Any, base: str) -> Iterator[Fault]:
    for i, fallback in enumerate(fallbacks):
        kind = fallback.type if "type" in fallback.model_fields_set else base
        if kind == "command" and not (fallback.command or command):
            yield "E302", ("fallbacks", i), "the backend `command` needs a command", _COMMAND_HINT


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A dumped backend section with what an override or a fallback sets laid over it. A profile belongs to its type."""
    own = {"profile": None} if "type" in over else {}
    return {**base, **own, **{name: value for name, value in over.items() if name != "max_wait"}}


# ---- sheet, prompt, flow --------------------------------------------------------------------------------------------


class StagePlace(Section):
    stage: Int = Field(ge=1)
    instance: Int = Field(1, ge=1)
    fan_count: Int = Field(1, ge=1)


class SkipCommand(Section):
    command: Annotated[Text, Field(min_length=1)]
    description: Text | None = None
    timeout_seconds: Number = Field(10.0, gt=0, le=60)


class Sheet(Section):
    size: Int = Field(ge=1)
    total_items: Int = Field(ge=1)
    start_item: Int = Field(1, ge=1)
    dependencies: Annotated[dict[Int, list[Int]], BeforeValidator(int_keys)] | None = Field(
        None,
        description="Sheets that must be complete first. Not written, and without `parallel`, the sheets play in number "
        "order; {}: they need nothing of each other.",
    )
    fan_out: Annotated[dict[Int, Annotated[Int, Field(ge=1)]], BeforeValidator(int_keys)] = {}
    fan_out_stage_map: Annotated[dict[Int, StagePlace], BeforeValidator(int_keys)] | None = None
    skip_when: Annotated[dict[Int, Text], BeforeValidator(int_keys)] = {}
    skip_when_command: Annotated[dict[Int, SkipCommand], BeforeValidator(int_keys)] = {}
    backends: Annotated[dict[Int, BackendOverride], BeforeValidator(int_keys)] = {}

    @model_validator(mode="after")
    def _check_graph(self) -> Self:
        fail([tuple(fault) for fault in graph_faults(self)])  # type: ignore[misc]
        return self


class Prompt(Section):
    template: Text | None = None
    template_file: Text | None = None
    includes: dict[str, Text] = {}
    """What the template includes by name: put here by `load`, or written in the score itself."""
    variables: Variables = {}
    stakes: Text | None = None
    thinking_method: Text | None = None
    given: list[Text] = Field(
        [], description="Variables whose values are not the author's, as `--var` notes: commands get them by reference."
    )


class Retry(Section):
    max_retries: Int = Field(
        3, ge=0, description="Whole attempts of a sheet, the first included: 0 and 1 mean no retry, 2 means one."
    )
    base_delay_seconds: Positive = 10.0
    max_delay_seconds: Positive = 3600.0
    exponential_base: Number = Field(2.0, gt=1)
    jitter: bool = True
    max_completion_attempts: Count = 3
    completion_delay_seconds: Seconds = 5.0
    completion_threshold_percent: Number = Field(50.0, gt=0, le=100)

    @model_validator(mode="after")
    def _check_delays(self) -> Self:
        if self.base_delay_seconds > self.max_delay_seconds:
            message = (
                f"base_delay_seconds {self.base_delay_seconds:g} is above max_delay_seconds {self.max_delay_seconds:g}"
            )
            fail([("E301", ("base_delay_seconds",), message, "raise max_delay_seconds")])
        return self


DETECTION_PATTERNS = ("rate.?limit", "usage.?limit", "quota", "too many requests", "429", "capacity", "try again later")


QUOTA_WAITS = 48


class RateLimit(Section):
    detection_patterns: list[Regex] = list(DETECTION_PATTERNS)
    wait_minutes: Int = Field(60, ge=1)
    max_waits: Int = Field(24, ge=1)
    max_quota_waits: Int = Field(QUOTA_WAITS, ge=1)


class CircuitBreaker(Section):
    enabled: bool = True
    failure_threshold: Int = Field(5, ge=1, le=100)
    recovery_timeout_seconds: Number = Field(300.0, gt=0, le=3600)
    cross_workspace_coordination: bool = True
    honor_other_jobs_rate_limits: bool = True


class CostLimits(Section):
    enabled: bool = True
    max_cost_per_sheet: Positive | None = None
    max_cost_per_job: Positive | None = None
    cost_per_1k_input_tokens: Positive = 0.003
    cost_per_1k_output_tokens: Positive = 0.015
    warn_at_percent: Number = Field(80.0, gt=0, le=100)
    on_reached: Literal["stop", "finish"] | None = None
    """What becomes of agents that run when a limit is reached; null: `stop` where their price is known while they run."""

    @property
    def is_limiting(self) -> bool:
        return self.enabled and (self.max_cost_per_sheet is not None or self.max_cost_per_job is not None)


class StaleDetection(Section):
    enabled: bool = True
    idle_timeout_seconds: Positive = 300.0
    first_byte_seconds: Positive | None = None
    """How long an agent may print nothing at all; null: as the backend knows it."""
    check_interval_seconds: Positive = 30.0


class Parallel(Section):
    enabled: bool = False
    max_concurrent: Int = Field(3, ge=1, le=1000)
    fail_fast: bool = True
    budget_partition: bool = True


# ---- validations ----------------------------------------------------------------------------------------------------

FILE_TYPES = ("file_exists", "file_modified", "content_contains", "content_regex")


class Validation(Section):
    type: Literal["file_exists", "file_modified", "content_contains", "content_regex", "command_succeeds"]
    path: Text | None = None
    pattern: Text | None = None
    command: Text | None = None
    working_directory: Text | None = None
    description: Text | None = None
    stage: Int = Field(1, ge=1)
    condition: Text | None = None
    retry_count: Int = Field(3, ge=0, le=10)
    retry_delay_ms: Int = Field(200, ge=0, le=5000)
    timeout_seconds: Positive = 300.0

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        needed = ["command"] if self.type == "command_succeeds" else ["path"]
        needed += ["pattern"] if self.type.startswith("content_") else []
        faults: list[Fault] = [
            ("V008", (), f"a {self.type} rule needs `{name}`", f"add `{name}:` to it")
            for name in needed
            if getattr(self, name) is None
        ]
        if self.type == "content_regex" and self.pattern is not None:
            faults += _regex_faults(self.pattern)
        fail(faults)
        return self


def _regex_faults(pattern: str) -> list[Fault]:
    try:
        regex(pattern)
    except PydanticCustomError as error:
        hint = "write patterns in single quotes, so that YAML keeps their backslashes"
        return [("V007", ("pattern",), f"the pattern {pattern!r} {error.message()}", hint)]
    return []


# ---- the score ------------------------------------------------------------------------------------------------------


class Score(Section):
    name: Annotated[Text, Field(min_length=1, max_length=200, pattern=ONE_LINE)]
    description: Text | None = None
    workspace: Annotated[Text, Field(min_length=1)] = "./workspace"
    workspace_lock: Literal["warn", "wait", "refuse", "share"] | None = None
    """What another job in the same workspace means for this one: begin beside it and say so, begin when it has ended, be
    refused, or nothing at all. None: as the daemon's setting has it."""
    backend: Backend = defaults()
    sheet: Sheet
    prompt: Prompt
    retry: Retry = defaults()
    rate_limit: RateLimit = defaults()
    circuit_breaker: CircuitBreaker | None = None
    cost_limits: CostLimits | None = None
    stale_detection: StaleDetection | None = None
    parallel: Parallel = defaults()
    cross_sheet: CrossSheet | None = None
    feedback: Feedback | None = None
    isolation: Isolation | None = None
    workspace_lifecycle: WorkspaceLifecycle = defaults()
    learning: Learning | None = None
    grounding: Grounding | None = None
    checkpoints: Checkpoints | None = None
    conductor: Conductor | None = None
    concert: Concert | None = None
    ai_review: AiReview | None = None
    logging: Logging | None = None
    validations: list[Validation] = []
    notifications: list[Notification] = []
    on_success: list[Hook] = []
    on_failure_hooks: list[Hook] = []
    bridge: Bridge | None = None
    state_backend: Literal["json", "sqlite"] = "sqlite"
    state_path: Text | None = None
    pause_between_sheets_seconds: Seconds = 10.0
    priority: Annotated[Int, BeforeValidator(number_of)] = Field(0, ge=LOWEST, le=HIGHEST)
    group: Annotated[Text, Field(max_length=200, pattern=ONE_LINE)] | None = None
    """Of jobs that share a limit: `mozart group set NAME --parallel N`."""

    @model_validator(mode="after")
    def _check_across(self) -> Self:
        fail([*self._override_faults(), *self._expression_faults()])
        return self

    @property
    def plays_in_order(self) -> bool:
        """Whether each sheet waits for the one before: nothing was said about what needs what."""
        return self.sheet.dependencies is None and not self.parallel.enabled

    def backend_for(self, n: int) -> Backend:
        """The backend of sheet n, its override laid over the score's."""
        override = self.sheet.backends.get(n)
        if override is None:
            return self.backend
        return Backend.model_validate(overlay(self.backend.model_dump(), override.model_dump()))

    def choices_for(self, n: int) -> list[Backend]:
        """The backend of sheet n, and then its fallbacks."""
        backend = self.backend_for(n)
        base = backend.model_dump()
        return [backend, *(Backend.model_validate(overlay(base, each.model_dump())) for each in backend.fallbacks)]

    def backend_sections(self) -> Iterator[tuple[tuple[str | int, ...], _BackendFields]]:
        """Every section that chooses a backend, with its place: the score's, the sheets', and their fallbacks."""
        found: list[tuple[tuple[str | int, ...], Backend | BackendOverride]] = [(("backend",), self.backend)]
        found += [(("sheet", "backends", n), override) for n, override in self.sheet.backends.items()]
        for path, section in found:
            yield path, section
            for i, fallback in enumerate(section.fallbacks):
                yield (*path, "fallbacks", i), fallback

    def timeout_for(self, n: int) -> float:
        """Seconds that an attempt of sheet n may take."""
        return self.backend_for(n).timeout_of(n)

    def _override_faults(self) -> Iterator[Fault]:
        for n, override in self.sheet.backends.items():
            kind = override.type if "type" in override.model_fields_set else self.backend.type
            command = override.command or self.backend.command
            if kind == "command" and not command:
                yield "E302", ("sheet", "backends", n), "the backend `command` needs a command", _COMMAND_HINT
            for code, path, *rest in _fallback_faults(override.fallbacks, command, kind):
                yield code, ("sheet", "backends", n, *path), *rest  # type: ignore[misc]

    def _expression_faults(self) -> Iterator[Fault]:
        known = {*BUILT_INS, *(str(name) for name in self.prompt.variables)}
        for i, rule in enumerate(self.validations):
            if rule.condition is not None:
                yield from _faults_of(("validations", i, "condition"), rule.condition, known)
        for n, text in self.sheet.skip_when.items():
            yield from _faults_of(("sheet", "skip_when", n), text, {"sheets", "job"})


def _faults_of(field: tuple[str | int, ...], text: str, known: set[str]) -> Iterator[Fault]:
    try:
        expression = compile_expression(text)
        names = expression.names
        if not names:
            expression.evaluate({})
    except ExpressionError as error:
        yield "V112", field, str(error), "write it as in `sheet_num >= 3 and stage == 2`"
        return
    for name in sorted(names - known):
        hint = suggestion(name, [*known, *FUNCTIONS]) or f"known are {', '.join(sorted(known))}"
        yield "V112", field, f"the expression {text!r} uses the unknown name {name!r}", hint
