"""Every field of a score with its default and constraint (score-format §1), and the checks between fields.

`Score.model_validate` takes what YAML gave and what `model_dump(mode="json")` gave alike: the second is what travels to the
coordinator and is stored. Paths are strings as written; `load` anchors them. A section that is null was not written; its
defaults are those of its class.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ipc.score.expand import graph_faults
from ipc.score.expressions import FUNCTIONS, ExpressionError, compile_expression
from ipc.score.problems import suggestion
from ipc.score.variables import BUILT_INS, decode, encode

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
_PROTECTED_ENVIRONMENT = frozenset(
    {
        "PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "DYLD_LIBRARY_PATH", "PYTHONPATH", "NODE_PATH",
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "ANTHROPIC_API_KEY", "OPENAI_API_KEY",
    }
)  # fmt: skip


#: No control characters, and something to see.
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "must be a number")
    return value


def _int_keys(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    found: dict[Any, Any] = {}
    for key, item in value.items():
        number = int(key) if isinstance(key, str) and key.isdecimal() else key
        if number in found:
            raise PydanticCustomError("twice", "names {key} twice, as a number and as text", {"key": number})
        found[number] = item
    return found


def _text_values(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _as_text(item) for key, item in value.items()}


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _command(value: Any) -> Any:
    """Told here, because pydantic would tell what is wrong with it as a list and as text."""
    if value is not None and not isinstance(value, str | list):
        raise PydanticCustomError("command_type", "must be text or a list of texts")
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        raise PydanticCustomError("command_type", "must hold texts only (quote its numbers)")
    return value


def _whole_text(value: str) -> str:
    if _NOT_TEXT.search(value):
        raise PydanticCustomError("text", "must be text without NUL and half surrogate characters")
    return value


def _folder_inside(value: str) -> str:
    if os.path.isabs(value) or ".." in value.split("/") or os.path.normpath(value) == ".":
        raise PydanticCustomError("folder", "must be a folder inside the workspace")
    return value


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise PydanticCustomError("V007", "is not a regular expression: {error}", {"error": str(error)}) from None
    return value


Int = Annotated[int, BeforeValidator(_refuse_bool)]
Number = Annotated[float, BeforeValidator(_refuse_bool), Field(allow_inf_nan=False)]
Count = Annotated[Int, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
Seconds = Annotated[Number, Field(ge=0)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
Text = Annotated[str, AfterValidator(_whole_text)]
Folder = Annotated[Text, AfterValidator(_folder_inside)]
Regex = Annotated[Text, AfterValidator(_regex)]
TextMap = Annotated[dict[Text, Text], BeforeValidator(_text_values)]
Variables = Annotated[dict[str, Any], BeforeValidator(decode), PlainSerializer(encode, when_used="json")]


#: What a check between fields found: code, field below the section, message, hint.
Fault = tuple[str, tuple[str | int, ...], str, str]


class Section(BaseModel):
    # Built when first used: only what is validated by itself costs a validator of its own, which `Score` alone mostly is.
    model_config = ConfigDict(extra="forbid", protected_namespaces=(), defer_build=True)


def defaults() -> Any:
    """A section that need not be written. Its defaults are made by the enclosing section's validator."""
    return Field(default_factory=dict, validate_default=True)


def fail(faults: list[Fault]) -> None:
    """Raise them all as one error; `load` takes it apart."""
    if faults:
        raise PydanticCustomError("faults", "{message}", {"message": faults[0][2], "faults": faults})


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
    command: Annotated[list[Text] | Text | None, BeforeValidator(_command)] = None
    env: TextMap = {}
    skip_permissions: bool = True
    disable_mcp: bool = True
    output_format: Literal["json", "text", "stream-json"] = "stream-json"
    cli_model: Text | None = None
    model: Text = "claude-sonnet-4-20250514"
    allowed_tools: list[Text] | None = None
    system_prompt_file: Text | None = None
    working_directory: Text | None = None
    timeout_seconds: Positive = 1800.0
    timeout_overrides: Annotated[dict[Int, Positive], BeforeValidator(_int_keys)] = {}
    cli_extra_args: list[Text] = []
    max_output_capture_bytes: Int = Field(10240, gt=0)
    resume_session: Literal["auto", "never"] = "auto"
    pty: bool = False
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
    dependencies: Annotated[dict[Int, list[Int]], BeforeValidator(_int_keys)] = {}
    fan_out: Annotated[dict[Int, Annotated[Int, Field(ge=1)]], BeforeValidator(_int_keys)] = {}
    fan_out_stage_map: Annotated[dict[Int, StagePlace], BeforeValidator(_int_keys)] | None = None
    skip_when: Annotated[dict[Int, Text], BeforeValidator(_int_keys)] = {}
    skip_when_command: Annotated[dict[Int, SkipCommand], BeforeValidator(_int_keys)] = {}
    backends: Annotated[dict[Int, BackendOverride], BeforeValidator(_int_keys)] = {}

    @model_validator(mode="after")
    def _check_graph(self) -> Self:
        fail([tuple(fault) for fault in graph_faults(self)])  # type: ignore[misc]
        return self


class Prompt(Section):
    template: Text | None = None
    template_file: Text | None = None
    variables: Variables = {}
    stakes: Text | None = None
    thinking_method: Text | None = None


class Retry(Section):
    max_retries: Count = 3
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
    enabled: bool = False
    max_cost_per_sheet: Positive | None = None
    max_cost_per_job: Positive | None = None
    cost_per_1k_input_tokens: Positive = 0.003
    cost_per_1k_output_tokens: Positive = 0.015
    warn_at_percent: Number = Field(80.0, gt=0, le=100)

    @model_validator(mode="after")
    def _check_limit(self) -> Self:
        if self.enabled and self.max_cost_per_sheet is None and self.max_cost_per_job is None:
            message = "cost_limits are enabled without a limit"
            fail([("E302", ("enabled",), message, "set max_cost_per_job or max_cost_per_sheet")])
        return self


class StaleDetection(Section):
    enabled: bool = False
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
        _regex(pattern)
    except PydanticCustomError as error:
        hint = "write patterns in single quotes, so that YAML keeps their backslashes"
        return [("V007", ("pattern",), f"the pattern {pattern!r} {error.message()}", hint)]
    return []


# ---- later features: accepted here, refused by `unavailable` until they are built ---------------------------------


class CrossSheet(Section):
    auto_capture_stdout: bool = False
    max_output_chars: Int = Field(2000, gt=0)
    capture_files: list[Text] = []
    lookback_sheets: Count = 3


class Feedback(Section):
    enabled: bool = False
    pattern: Regex = "(?s)FEEDBACK_START(.+?)FEEDBACK_END"
    format: Literal["json", "yaml", "text"] = "json"


class Isolation(Section):
    enabled: bool = False
    mode: Literal["worktree", "none"] = "worktree"
    worktree_base: Text | None = None
    branch_prefix: Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]*$")] = "mozart"
    source_branch: Text | None = None
    cleanup_on_success: bool = True
    cleanup_on_failure: bool = False
    lock_during_execution: bool = True
    fallback_on_error: bool = True
    per_sheet: bool = False


class WorkspaceLifecycle(Section):
    archive_on_fresh: bool = False
    archive_dir: Folder = "archive"
    archive_naming: Literal["iteration", "timestamp"] = "iteration"
    max_archives: Count = 0
    preserve_patterns: list[Text] = [".iteration", ".mozart-*", ".coverage", "archive/**", ".worktrees/**"]


NotificationEvent = Literal[
    "job_start", "sheet_start", "sheet_complete", "sheet_failed", "job_complete", "job_failed", "job_paused"
]


class Notification(Section):
    type: Literal["desktop", "slack", "webhook", "email"]
    on_events: list[NotificationEvent] = ["job_complete", "job_failed"]
    config: Variables = {}


class Hook(Section):
    type: Literal["run_job", "run_command", "run_script"]
    job_path: Text | None = None
    job_workspace: Text | None = None
    inherit_learning: bool = True
    detached: bool = False
    fresh: bool = False
    command: Text | None = None
    working_directory: Text | None = None
    description: Text | None = None
    on_failure: Literal["continue", "abort"] = "continue"
    timeout_seconds: Positive = 300.0

    @model_validator(mode="after")
    def _check_target(self) -> Self:
        needed = "job_path" if self.type == "run_job" else "command"
        if not getattr(self, needed):
            fail([("E302", (needed,), f"a {self.type} hook needs `{needed}`", f"add `{needed}:` to it")])
        return self


class Concert(Section):
    enabled: bool = False
    max_chain_depth: Int = Field(5, ge=1, le=100)
    cooldown_between_jobs_seconds: Seconds = 30.0
    inherit_workspace: bool = True
    concert_log_path: Text | None = None
    abort_concert_on_hook_failure: bool = False


class Preferences(Section):
    prefer_minimal_output: bool = False
    escalation_response_timeout_seconds: Positive = 300.0
    auto_retry_on_transient_errors: bool = True
    notification_channels: list[Text] = []


class Conductor(Section):
    name: Annotated[Text, Field(min_length=1, max_length=100)] = "default"
    role: Literal["human", "ai", "hybrid"] = "human"
    identity_context: Annotated[Text, Field(max_length=500)] | None = None
    preferences: Preferences = defaults()


class AutoApply(Section):
    enabled: bool = False
    trust_threshold: Fraction = 0.85
    max_patterns_per_sheet: Int = Field(3, ge=1, le=10)
    require_validated_status: bool = True
    log_applications: bool = True


class ExplorationBudget(Section):
    enabled: bool = False
    floor: Fraction = 0.05
    ceiling: Fraction = 0.50
    decay_rate: Fraction = 0.95
    boost_amount: Number = Field(0.10, ge=0, le=0.5)
    initial_budget: Fraction = 0.15

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not self.floor <= self.initial_budget <= self.ceiling:
            message = f"floor {self.floor:g} ≤ initial_budget {self.initial_budget:g} ≤ ceiling {self.ceiling:g} does not hold"
            fail([("E301", ("initial_budget",), message, "")])
        return self


class EntropyResponse(Section):
    enabled: bool = False
    entropy_threshold: Fraction = 0.3
    cooldown_seconds: Int = Field(3600, ge=60)
    boost_budget: bool = True
    revisit_quarantine: bool = True
    max_quarantine_revisits: Int = Field(3, ge=0, le=10)


class Learning(Section):
    enabled: bool = True
    outcome_store_type: Literal["json", "sqlite"] = "json"
    outcome_store_path: Text | None = None
    min_confidence_threshold: Fraction = 0.3
    high_confidence_threshold: Fraction = 0.7
    escalation_enabled: bool = False
    use_global_patterns: bool = True
    exploration_rate: Fraction = 0.15
    exploration_min_priority: Fraction = 0.05
    entropy_alert_threshold: Fraction = 0.5
    entropy_check_interval: Int = Field(100, ge=1)
    auto_apply_enabled: bool = False
    auto_apply_trust_threshold: Fraction = 0.85
    auto_apply: AutoApply = defaults()
    exploration_budget: ExplorationBudget = defaults()
    entropy_response: EntropyResponse = defaults()


class GroundingHook(Section):
    type: Literal["file_checksum"]
    name: Text | None = None
    expected_checksums: TextMap = {}
    checksum_algorithm: Literal["sha256", "md5"] = "sha256"


class Grounding(Section):
    enabled: bool = False
    hooks: list[GroundingHook] = []
    fail_on_grounding_failure: bool = True
    escalate_on_failure: bool = True
    timeout_seconds: Positive = 30.0


class Trigger(Section):
    name: Text
    sheet_nums: list[Int] | None = None
    prompt_contains: list[Text] | None = None
    min_retry_count: Count | None = None
    requires_confirmation: bool = True
    message: Text = ""

    @model_validator(mode="after")
    def _check_condition(self) -> Self:
        if self.sheet_nums is None and self.prompt_contains is None and self.min_retry_count is None:
            message = "a trigger needs at least one of sheet_nums, prompt_contains, min_retry_count"
            fail([("E302", (), message, "")])
        return self


class Checkpoints(Section):
    enabled: bool = False
    triggers: list[Trigger] = []


class AiReview(Section):
    enabled: bool = False
    min_score: Int = Field(60, ge=0, le=100)
    target_score: Int = Field(80, ge=0, le=100)
    on_low_score: Literal["warn", "retry", "fail"] = "warn"
    max_retry_for_review: Int = Field(2, ge=0, le=5)
    review_prompt_template: Text | None = None

    @model_validator(mode="after")
    def _check_scores(self) -> Self:
        if self.min_score > self.target_score:
            message = f"min_score {self.min_score} is above target_score {self.target_score}"
            fail([("E301", ("min_score",), message, "")])
        return self


class Logging(Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    format: Literal["console", "json", "both"] = "console"
    file_path: Text | None = None
    max_file_size_mb: Int = Field(50, ge=1, le=1000)
    backup_count: Int = Field(5, ge=0, le=100)
    include_timestamps: bool = True
    include_context: bool = True

    @model_validator(mode="after")
    def _check_file(self) -> Self:
        if self.format == "both" and self.file_path is None:
            fail([("E302", ("format",), "logging.format both needs logging.file_path", "")])
        return self


class McpServer(Section):
    name: Text
    command: Annotated[Text, Field(min_length=1)]
    args: list[Text] = []
    env: TextMap = {}
    working_dir: Text | None = None
    timeout_seconds: Positive = 30.0

    @model_validator(mode="after")
    def _check_environment(self) -> Self:
        fail([
            ("E301", ("env", name), f"an MCP server may not set {name}", "set it for the daemon instead")
            for name in self.env
            if name.upper() in _PROTECTED_ENVIRONMENT
        ])  # fmt: skip
        return self


class Bridge(Section):
    enabled: bool = False
    mcp_proxy_enabled: bool = True
    mcp_servers: list[McpServer] = []
    hybrid_routing_enabled: bool = False
    complexity_threshold: Fraction = 0.7
    fallback_to_claude: bool = True
    context_budget_percent: Int = Field(75, ge=10, le=95)


# ---- the score ------------------------------------------------------------------------------------------------------


class Score(Section):
    name: Annotated[Text, Field(min_length=1, max_length=200, pattern=_ONE_LINE)]
    description: Text | None = None
    workspace: Annotated[Text, Field(min_length=1)] = "./workspace"
    backend: Backend = defaults()
    sheet: Sheet
    prompt: Prompt
    retry: Retry = defaults()
    rate_limit: RateLimit = defaults()
    circuit_breaker: CircuitBreaker | None = None
    cost_limits: CostLimits | None = None
    stale_detection: StaleDetection = defaults()
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
    priority: Int = Field(0, ge=-100, le=100)
    group: Annotated[Text, Field(max_length=200, pattern=_ONE_LINE)] | None = None
    """Of jobs that share a limit: `mozart group set NAME --parallel N`."""

    @model_validator(mode="after")
    def _check_across(self) -> Self:
        fail([*self._override_faults(), *self._expression_faults()])
        return self

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
        names = compile_expression(text).names
    except ExpressionError as error:
        yield "V112", field, str(error), "write it as in `sheet_num >= 3 and stage == 2`"
        return
    for name in sorted(names - known):
        hint = suggestion(name, [*known, *FUNCTIONS]) or f"known are {', '.join(sorted(known))}"
        yield "V112", field, f"the expression {text!r} uses the unknown name {name!r}", hint
