"""The sections that a score may leave out altogether: null stands for "not written". Those that only bound or watch are on when
they are written, unless `enabled: false`; those that do more need `enabled: true`.

What is not built of them is accepted here and refused by `unavailable`, so that old scores load and plan. Part of `schema`,
which puts them together.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ipc.score.fields import (
    Count,
    Folder,
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
)

_PROTECTED_ENVIRONMENT = frozenset(
    {
        "PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "DYLD_LIBRARY_PATH", "PYTHONPATH", "NODE_PATH",
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "ANTHROPIC_API_KEY", "OPENAI_API_KEY",
    }
)  # fmt: skip


class CrossSheet(Section):
    auto_capture_stdout: bool = False
    max_output_chars: Int = Field(2000, gt=0)
    capture_files: list[Text] = []
    lookback_sheets: Count = 3


class Feedback(Section):
    enabled: bool = True
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
    enabled: bool = True
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
            bounds = f"floor {self.floor:g} and ceiling {self.ceiling:g}"
            message = f"initial_budget {self.initial_budget:g} must be between {bounds}"
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
    enabled: bool = True
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
    enabled: bool = True
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
