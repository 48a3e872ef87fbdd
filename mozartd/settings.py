"""Every setting of the daemon: its name, its default, what it does. The one place where they are documented.

Read from the YAML file at `Paths.config` and from `MOZART_<NAME>` in the environment, which wins. The supervisor
reads them at start and at reload, and hands the whole to the coordinator and a few to the workers; nobody else reads
them. A wrong key or value is refused with file, line and the nearest key.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from ipc.environment import names_nothing
from ipc.errors import EXIT_USAGE, MozartError
from ipc.trust import distrust, open_own

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
    worker_slots: int = Field(16, ge=1, le=1024, description="How many agents one worker runs at once.")
    max_concurrent_sheets: int = Field(
        32, ge=1, le=100_000, description="How many sheets of all jobs together run at once."
    )
    max_concurrent_jobs: int | None = Field(
        None, ge=1, description="How many jobs run at once; further ones wait. null: no limit."
    )
    workspace_lock: Literal["warn", "wait", "refuse", "share"] = Field(
        "warn",
        description="A job whose workspace another one uses: warn (both run), wait (until that has ended), refuse, or share"
        " (nobody is told); a score may say otherwise.",
    )
    backends: dict[str, BackendSettings] = Field(
        {}, description="Limits of a backend over all jobs: {claude_cli: {max_concurrent: 4}}."
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
        3600, gt=0, description="A daemon that `mozart run` started exits after this many seconds without work."
    )
    stop_grace_seconds: float = Field(
        5, ge=0, le=3600, description="How many seconds running agents may continue when the daemon stops."
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
        0o600, description="Mode of the clients' socket: 0600 for the daemon's user only, 0660 for its group too."
    )
    mask_patterns: Annotated[list[str], NoDecode] = Field(
        [], description="Regular expressions of secrets to mask in logs, beyond the key formats that are known."
    )
    history_jobs: int = Field(
        1000, ge=1, description="How many finished jobs are kept, with their logs; the oldest are deleted first."
    )
    history_days: float = Field(90, gt=0, description="How many days a finished job and its logs are kept.")
    log_segment_bytes: int = Field(
        64 * 1024**2,
        ge=64 * 1024,
        le=1024**3,
        description="An attempt's log continues in a new file after this many bytes.",
    )
    log_attempt_bytes: int = Field(
        2 * 1024**3,
        ge=64 * 1024,
        description="The oldest files of an attempt's log are deleted when they take more bytes than this in all.",
    )
    log_total_bytes: int = Field(
        20 * 1024**3,
        ge=64 * 1024,
        description="The logs that ended first are deleted when all take more bytes than this; those of running agents stay.",
    )
    log_compress_hours: float | None = Field(
        1,
        ge=0,
        description="Complete files of a log are compressed at once, the last one this many hours after its end; null: never.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The level of the daemon's own log."
    )
    liveness_seconds: float = Field(
        30, ge=5, description="A coordinator or worker that hangs for this many seconds is killed and replaced."
    )
    metrics_address: str | None = Field(
        None, description="The address for Prometheus to scrape, as 127.0.0.1:9464; null: none."
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
    values, tree = _read_file(path, must_exist=must_exist)
    known = {key: value for key, value in values.items() if key in Settings.model_fields}
    details: list[Any] = []
    settings = None
    try:
        settings = Settings(**known)
    except ValidationError as error:
        details = error.errors(include_url=False)
    except SettingsError as error:
        raise _not_json(str(error)) from None
    if settings is None or len(known) < len(values):
        raise _refusal(path, tree, [key for key in values if key not in known], details)
    return settings.model_copy(update=dict(overrides or {}))


def _refusal(path: str, tree: Any, unknown: Sequence[str], details: Sequence[Any]) -> MozartError:
    from mozartd import settings_errors as errors

    source = errors.Source(path, tree, Settings, errors.variables_of(Settings, "MOZART_"))
    mistakes = [errors.unknown(source, key) for key in unknown] + [errors.explained(source, one) for one in details]
    return errors.refusal(source, mistakes)


def _not_json(message: str) -> MozartError:
    """pydantic-settings names the field; what the variable of a map or a list must be is JSON."""
    name = next((name for name in Settings.model_fields if f'"{name}"' in message), "")
    reason = f"cannot use {_variable(name)} from the environment: it is not JSON"
    return MozartError("E301", reason, f"{name}: {Settings.model_fields[name].description}", EXIT_USAGE)


def doubts(settings: Settings) -> list[str]:
    """What may be meant otherwise: names that no backend has here, and variables that no client sends."""
    named = [("backends", name) for name in settings.backends]
    named += [("budgets", one.scope.partition("/")[0]) for one in settings.budgets]
    unsent = [
        f"submit_env: {pattern!r} names no variable, so that no client sends any for it; write names, or beginnings like LC_*"
        for pattern in names_nothing(settings.submit_env)
    ]
    return unsent + [f"{setting}: {doubt}" for setting, name in named if (doubt := doubt_of_backend(name))]


def doubt_of_backend(name: str) -> str:
    """A sentence when no backend here has that name (stars match). Only a score knows the profiles beside it, so that
    nobody is refused for it."""
    from ipc.score import profiles  # heavy, and not needed by commands
    from ipc.score.problems import nearest
    from ipc.score.schema import BACKENDS, SHIPPED_PROFILES

    _, user = profiles.directories("/")
    known = [*BACKENDS, *SHIPPED_PROFILES, *profiles.names(user)]
    if fnmatch.filter(known, name):
        return ""
    near = nearest(name, known)
    doubt = f"there is no backend {name!r} and no profile of that name in {user}"
    return f"{doubt}; did you mean {near!r}?" if near else doubt


def overruled(path: str, settings: Settings, overrides: Mapping[str, str]) -> dict[str, str]:
    """Settings whose value in the file is not the one in `settings`, and what wins. `overrides`: name → who says it."""
    values, _ = _read_file(path, must_exist=False)
    found = {name: f"{_variable(name)} in the daemon's environment" for name in values if _variable(name) in os.environ}
    found |= {name: said for name, said in overrides.items() if name in values}
    return {name: said for name, said in found.items() if values[name] != getattr(settings, name)}


def _variable(name: str) -> str:
    return f"MOZART_{name.upper()}"


def _read_file(path: str, *, must_exist: bool) -> tuple[dict[str, Any], Any]:
    """The file's values, and its YAML nodes, which know where each was written; None without a file."""
    try:
        _check_place(path, must_exist=must_exist)
        with open(open_own(path, follow=must_exist), encoding="utf-8") as file:
            text = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        if must_exist:
            raise MozartError("E303", f"cannot read {path}: there is no such file", "", EXIT_USAGE) from None
        return {}, None
    except OSError as error:
        hint = "a file elsewhere, also by a link, is used with `mozartd start --config FILE`"
        message = f"cannot read {path}: {error.strerror}"
        raise MozartError("E303", message, hint if error.errno == errno.ELOOP else "", EXIT_USAGE) from None
    except UnicodeDecodeError as error:
        raise MozartError("E303", f"cannot read {path}: {error}", "", EXIT_USAGE) from None
    if len(text) > MAX_FILE:
        raise MozartError("E304", f"cannot read {path}: it is larger than {MAX_FILE} bytes", "", EXIT_USAGE)
    return _parse(path, text)


def _check_place(path: str, *, must_exist: bool) -> None:
    """A file that a person named may be anywhere; one that is merely found, only where nobody else can put it."""
    fault = None if must_exist else distrust(os.path.dirname(path))
    if fault is not None:
        raise fault.refusal(os.path.dirname(path))


def _parse(path: str, text: str) -> tuple[dict[str, Any], Any]:
    try:
        tree = yaml.compose(text, yaml.SafeLoader)
        _check_keys(path, tree)
        values = yaml.safe_load(text)
    except RecursionError:
        raise MozartError("E304", f"cannot read {path}: it is nested too deeply", "", EXIT_USAGE) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
        reason = getattr(error, "problem", None) or "it is not YAML"
        raise MozartError("E304", f"cannot read {where}: {reason}", "", EXIT_USAGE) from None
    return {str(key): value for key, value in (values or {}).items()}, tree


def _check_keys(path: str, tree: Any) -> None:
    """Refuses what YAML would take: something else than a map, a key given twice, at any depth."""
    if tree is None or tree.tag == "tag:yaml.org,2002:null":
        return
    if not isinstance(tree, yaml.MappingNode):
        hint = "write one setting per line, as `workers: 4`"
        raise MozartError("E304", f"cannot read {path}: it is not a map of settings", hint, EXIT_USAGE)
    _check_duplicates(path, tree)


def _check_duplicates(path: str, node: Any) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_duplicates(path, item)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in lines:
            message = f"cannot use the setting {name} in {path}:{line}: duplicate key (first on line {lines[name]})"
            raise MozartError("E301", message, "remove one of the two", EXIT_USAGE)
        lines[name] = line
        _check_duplicates(path, value)
