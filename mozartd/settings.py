"""Every setting of the daemon: its name, its default, what it does. The one place where they are documented.

Read from the YAML file at `Paths.config` and from `MOZART_<NAME>` in the environment, which wins. The supervisor
reads them at start and at reload, and hands the whole to the coordinator and a few to the workers; nobody else reads
them. A wrong key or value is refused with file, line and the nearest key.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from ipc.errors import EXIT_USAGE, MozartError

#: Bytes of a settings file, at most: it is read whole.
MAX_FILE = 1024 * 1024
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class BackendSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_concurrent: int | None = Field(None, ge=1)


class BudgetSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    scope: str = "*"
    usd: float | None = Field(None, gt=0)
    tokens: int | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.usd is None and self.tokens is None:
            raise ValueError(f"the budget for {self.scope!r} needs usd or tokens")
        return self


class LimitsSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    resume: Literal["auto", "ask"] = "auto"
    window: str | None = None

    @field_validator("window")
    @classmethod
    def _hours(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(f"{_HOURS.pattern}-{_HOURS.pattern}", value):
            raise ValueError('hours look like "08:00-22:00"')
        return value


class AdmissionSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    memory_stall: float = Field(20.0, gt=0, le=100)
    memory_used: float = Field(0.95, gt=0, le=1)
    load: float = Field(24.0, gt=0)
    processes: float = Field(0.9, gt=0, le=1)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MOZART_", extra="forbid", frozen=True, allow_inf_nan=False)

    #: What a worker is started with; when one of these changes at a reload, workers are replaced as they become free.
    WORKER_FIELDS: ClassVar = (
        "worker_slots",
        "keep",
        "stop_grace_seconds",
        "mask_patterns",
        "log_level",
        "liveness_seconds",
    )
    #: Of those, what the coordinator is started with too.
    SHARED_FIELDS: ClassVar = ("log_level", "liveness_seconds")
    #: What nobody but the supervisor uses. Everything that is in neither is the coordinator's.
    SUPERVISOR_FIELDS: ClassVar = ("workers",)

    workers: int = Field(2, ge=1, le=256, description="Worker processes. Each runs up to worker_slots agents.")
    worker_slots: int = Field(16, ge=1, le=1024, description="Agents that one worker runs at once, at most.")
    max_concurrent_sheets: int = Field(
        32, ge=1, le=100_000, description="Sheets that run at once over all jobs, at most."
    )
    max_concurrent_jobs: int | None = Field(
        None, ge=1, description="Jobs that are under way at once, at most; further ones wait. null: any number."
    )
    backends: dict[str, BackendSettings] = Field(
        {}, description="Caps of a backend over all jobs: {claude_cli: {max_concurrent: 4}}."
    )
    budgets: list[BudgetSettings] = Field(
        [],
        description="What scopes may use in a local day: [{scope: 'claude_cli/*', usd: 20}, {scope: '*', tokens: 5000000}].",
    )
    prices: str | None = Field(
        None, description="A file of prices by model, in the form of mozartd/prices.yaml; null: the shipped ones."
    )
    admission: AdmissionSettings = Field(
        AdmissionSettings(),
        description="Above any of these fewer sheets start: percent of time stalled for memory, parts used, load.",
    )
    limits: LimitsSettings = Field(
        LimitsSettings(),
        description="When a rate limit is over: resume auto, or ask (wait for `mozart limits clear SCOPE`); window: the local"
        ' hours in which it may end by itself, as "08:00-22:00".',
    )
    idle_exit_seconds: float = Field(
        3600, gt=0, description="A daemon that `mozart run` started by itself exits after so long without work."
    )
    stop_grace_seconds: float = Field(
        5, ge=0, le=3600, description="At stop: how long running agents may go on before they are stopped."
    )
    keep: Annotated[list[str], NoDecode] = Field(
        [],
        description="Names of programs that are left running when the agent that started them has ended, such as ssh-agent.",
    )
    submit_env: Annotated[list[str], NoDecode] = Field(
        ["PATH", "LANG", "LC_*", "TZ", "VIRTUAL_ENV", "SSH_AUTH_SOCK"],
        description="Variables that agents get from the environment of whoever submitted the job; a name may end in *.",
    )
    socket_mode: Literal[0o600, 0o660] = Field(
        0o600, description="Mode of the clients' socket: 0600 for the daemon's user alone, 0660 for its group too."
    )
    mask_patterns: Annotated[list[str], NoDecode] = Field(
        [], description="Regular expressions of secrets to mask in logs, beyond the key formats that are known."
    )
    history_jobs: int = Field(1000, ge=1, description="Finished jobs kept, with their logs; the oldest go first.")
    history_days: float = Field(90, gt=0, description="Days for which a finished job and its logs are kept.")
    log_segment_bytes: int = Field(
        64 * 1024**2,
        ge=64 * 1024,
        le=1024**3,
        description="An attempt's log goes on in a new file after so many bytes.",
    )
    log_attempt_bytes: int = Field(
        2 * 1024**3, ge=64 * 1024, description="Of one attempt's log its oldest files go when all take more than this."
    )
    log_total_bytes: int = Field(
        20 * 1024**3,
        ge=64 * 1024,
        description="Of all logs those that ended first go when all take more than this; a running one's stays.",
    )
    log_compress_hours: float | None = Field(
        1,
        ge=0,
        description="Files of a log are compressed when it goes on in others, or ended so long ago; null: never.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="How much the daemon says in its own log."
    )
    liveness_seconds: float = Field(
        30, ge=5, description="A coordinator or worker whose loop stands still for so long is killed and replaced."
    )
    metrics_address: str | None = Field(
        None, description="Where Prometheus may scrape, as 127.0.0.1:9464; null serves no metrics."
    )

    @field_validator("submit_env", "mask_patterns", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """In the environment a list is written with commas, or as JSON when an item holds one."""
        if not isinstance(value, str):
            return value
        return yaml.safe_load(value) if value.startswith("[") else [item for item in value.split(",") if item]

    @field_validator("mask_patterns")
    @classmethod
    def _compile(cls, value: list[str]) -> list[str]:
        for pattern in value:
            try:
                re.compile(pattern.encode())
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
        return value

    @field_validator("socket_mode", mode="before")
    @classmethod
    def _octal(cls, value: Any) -> Any:
        """0600 is octal in YAML; in quotes, in the environment and as 0o600 it arrives as text."""
        if isinstance(value, str) and re.fullmatch(r"(0o?)?[0-7]{3}", value):
            value = int(value.removeprefix("0o"), 8)
        if value not in (0o600, 0o660):
            raise ValueError("only 0600 and 0660 make sense")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("metrics_address")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None or value.lower() in ("", "null", "none"):
            return None
        host, colon, port = value.rpartition(":")
        if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError("an address looks like 127.0.0.1:9464")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose content arrives as arguments."""
        return env_settings, init_settings


def load_settings(path: str, *, must_exist: bool = False, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings in the file and the environment. `overrides`, checked already, win over both."""
    values, lines = _read_file(path, must_exist=must_exist)
    for key in values:
        if key not in Settings.model_fields:
            raise _refusal(path, lines[key], key, "there is no such setting")
    try:
        return Settings(**values).model_copy(update=dict(overrides or {}))
    except ValidationError as error:
        problem = error.errors()[0]
        key = str(problem["loc"][0])
        raise _refusal(path, lines.get(key, 0), key, _sentence(problem)) from None


def doubts(settings: Settings) -> list[str]:
    """What may be meant otherwise: names that no backend has here. Only a score knows the profiles beside it, so that this
    is not refused."""
    from ipc.score import profiles  # heavy, and not needed by commands
    from ipc.score.problems import nearest
    from ipc.score.schema import BACKENDS, SHIPPED_PROFILES

    _, user = profiles.directories("/")
    known = [*BACKENDS, *SHIPPED_PROFILES, *profiles.names(user)]
    named = [("backends", name) for name in settings.backends]
    named += [("budgets", one.scope.partition("/")[0]) for one in settings.budgets]
    return [
        f"{setting}: there is no backend {name!r} and no profile of that name in {user}"
        + (f"; did you mean {near!r}?" if (near := nearest(name, known)) else "")
        for setting, name in named
        if not fnmatch.filter(known, name)
    ]


def overruled(path: str, settings: Settings, overrides: Mapping[str, str]) -> dict[str, str]:
    """Settings whose value in the file is not the one in `settings`, and what wins. `overrides`: name → who says it."""
    values, _ = _read_file(path, must_exist=False)
    found = {name: f"{_variable(name)} in the daemon's environment" for name in values if _variable(name) in os.environ}
    found |= {name: said for name, said in overrides.items() if name in values}
    return {name: said for name, said in found.items() if values[name] != getattr(settings, name)}


def _variable(name: str) -> str:
    return f"MOZART_{name.upper()}"


def _sentence(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{message[:1].lower()}{message[1:]} (it is {repr(problem['input'])[:80]})"


def _refusal(path: str, line: int, key: str, reason: str) -> MozartError:
    variable = _variable(key)
    if variable in os.environ and key in Settings.model_fields:
        return MozartError("E301", f"cannot use {variable} from the environment: {reason}", "", EXIT_USAGE)
    where = f"{path}:{line}" if line else path
    nearest = difflib.get_close_matches(key, Settings.model_fields, 1)
    hint = f"did you mean {nearest[0]}?" if nearest and nearest[0] != key else _describe(key)
    return MozartError("E301", f"cannot use the setting {key} in {where}: {reason}", hint, EXIT_USAGE)


def _describe(key: str) -> str:
    field = Settings.model_fields.get(key)
    return f"{key}: {field.description}" if field else f"the settings are {', '.join(Settings.model_fields)}"


def _read_file(path: str, *, must_exist: bool) -> tuple[dict[str, Any], dict[str, int]]:
    """The file's keys with their values, and with their lines."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        if must_exist:
            raise MozartError("E303", f"cannot read {path}: there is no such file", "", EXIT_USAGE) from None
        return {}, {}
    except (OSError, UnicodeDecodeError) as error:
        raise MozartError("E303", f"cannot read {path}: {error}", "", EXIT_USAGE) from None
    if len(text) > MAX_FILE:
        raise MozartError("E304", f"cannot read {path}: it is larger than {MAX_FILE} bytes", "", EXIT_USAGE)
    return _parse(path, text)


def _parse(path: str, text: str) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        tree = yaml.compose(text, yaml.SafeLoader)
        lines = _key_lines(path, tree)
        values = yaml.safe_load(text)
    except RecursionError:
        raise MozartError("E304", f"cannot read {path}: it is nested too deeply", "", EXIT_USAGE) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
        reason = getattr(error, "problem", None) or "it is not YAML"
        raise MozartError("E304", f"cannot read {where}: {reason}", "", EXIT_USAGE) from None
    return {str(key): value for key, value in (values or {}).items()}, lines


def _key_lines(path: str, tree: Any) -> dict[str, int]:
    """Also refuses what YAML would take: something else than a mapping, a key given twice."""
    if tree is None or tree.tag == "tag:yaml.org,2002:null":
        return {}
    if not isinstance(tree, yaml.MappingNode):
        hint = "write one setting per line, as `workers: 4`"
        raise MozartError("E304", f"cannot read {path}: it is not a mapping of settings", hint, EXIT_USAGE)
    lines: dict[str, int] = {}
    for key, _ in tree.value:
        line = key.start_mark.line + 1
        if str(key.value) in lines:
            raise _refusal(path, line, str(key.value), f"it is there twice, first in line {lines[str(key.value)]}")
        lines[str(key.value)] = line
    return lines
