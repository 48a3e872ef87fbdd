"""The flow between sheets: V206 and V207 fan-out, V212 keys of sheets that do not exist, V213 costs,
V220 sections that are off, V221 retries that are none, V009 versions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ipc.score.costs import unknown
from ipc.score.expand import total_sheets
from ipc.score.load import LoadedScore
from ipc.score.problems import ERROR, WARNING, Field, Problem, dotted

#: Backends whose usage nobody can price.
UNPRICED = ("command",)
_VERSION = re.compile(r"(?<![A-Za-z0-9])v([0-9]+)(?![0-9]|\.[0-9])")


def fan_out(loaded: LoadedScore) -> Iterator[Problem]:
    sheet = loaded.score.sheet
    if not any(count > 1 for count in sheet.fan_out.values()):
        return
    if not sheet.dependencies and not loaded.score.plays_in_order:
        message = "fan_out without dependencies: every stage starts at once"
        yield loaded.found(
            "V206", WARNING, ("sheet", "fan_out"), message, "add sheet.dependencies, as in {2: [1], 3: [2]}"
        )
    if not loaded.score.parallel.enabled:
        message = "fan_out without parallel: the instances run one after another"
        yield loaded.found("V207", WARNING, ("sheet", "fan_out"), message, "set parallel.enabled: true")


def sheet_keys(loaded: LoadedScore) -> Iterator[Problem]:
    sheet, backend = loaded.score.sheet, loaded.score.backend
    total = total_sheets(sheet)
    maps: tuple[tuple[Field, list[int]], ...] = (
        (("sheet", "skip_when"), list(sheet.skip_when)),
        (("sheet", "skip_when_command"), list(sheet.skip_when_command)),
        (("sheet", "backends"), list(sheet.backends)),
        (("backend", "timeout_overrides"), list(backend.timeout_overrides)),
    )
    for path, keys in maps:
        for n in keys:
            if not 1 <= n <= total:
                hint = f"sheets are 1 to {total}" + (" (stages do not count here)" if sheet.fan_out else "")
                yield loaded.found("V212", WARNING, (*path, n), f"there is no sheet {n}, so this has no effect", hint)


def costs(loaded: LoadedScore) -> Iterator[Problem]:
    score = loaded.score
    if score.cost_limits is None or not score.cost_limits.enabled:
        return
    if not score.cost_limits.is_limiting:
        hint = "set max_cost_per_job or max_cost_per_sheet"
        yield loaded.found("V213", WARNING, ("cost_limits",), "cost_limits has no limit", hint)
        return
    kinds = {score.backend.type, *(score.backend_for(n).type for n in score.sheet.backends)}
    for kind in sorted(kinds.intersection(UNPRICED)):
        message = f"cost_limits cannot be enforced: the `{kind}` backend reports no cost"
        yield loaded.found("V213", ERROR, ("cost_limits",), message, "use a backend that reports its usage")
    if score.cost_limits.on_reached is None:
        for backend in sorted({each for each in unknown(score) if each.split()[0] not in UNPRICED}):
            message = (
                f"an agent may exceed the cost limit before it ends: the price of {backend} is unknown while it runs"
            )
            hint = "set a model of the price table, or write `on_reached: finish` to accept it"
            yield loaded.found("V213", WARNING, ("cost_limits",), message, hint)


#: They do more than bound or watch, so they are off until they are switched on.
_SWITCHED: tuple[Field, ...] = (
    ("parallel",), ("isolation",), ("ai_review",), ("bridge",), ("learning", "auto_apply"), ("learning", "exploration_budget"),
    ("learning", "entropy_response"),
)  # fmt: skip


def switches(loaded: LoadedScore) -> Iterator[Problem]:
    """Sections that are written and do nothing."""
    for path in _SWITCHED:
        if loaded.has_section(*path) and not loaded.is_written(*path, "enabled"):
            message = f"{dotted(path)} has no effect without `enabled: true`"
            yield loaded.found("V220", WARNING, path, message, "add `enabled: true` to it, or remove the section")
    cross = loaded.score.cross_sheet
    if cross is not None and not cross.auto_capture_stdout and not cross.capture_files:
        message = "cross_sheet captures nothing: neither auto_capture_stdout nor capture_files is set"
        yield loaded.found("V220", WARNING, ("cross_sheet",), message, "add `auto_capture_stdout: true`")


def retries(loaded: LoadedScore) -> Iterator[Problem]:
    if loaded.score.retry.max_retries == 1 and loaded.is_written("retry", "max_retries"):
        message = "max_retries: 1 allows one attempt, so nothing is retried: it counts the first attempt"
        yield loaded.found("V221", WARNING, ("retry", "max_retries"), message, "write `max_retries: 2` for one retry")


def versions(loaded: LoadedScore) -> Iterator[Problem]:
    """In a score called `name-v7`, what still says v6. What it goes on with may say v8."""
    score = loaded.score
    version = re.search(r"-v([0-9]+)$", score.name)
    if version is None:
        return
    own = int(version.group(1))
    for path, text, may_follow in _versioned(loaded):
        for found in _VERSION.findall(text):
            if int(found) != own and not (may_follow and int(found) > own):
                message = f"{text!r} says v{found}, the score is {score.name!r}"
                yield loaded.found("V009", WARNING, path, message, f"should it say v{own}?")


def _versioned(loaded: LoadedScore) -> Iterator[tuple[Field, str, bool]]:
    score = loaded.score
    yield ("name",), os.path.basename(loaded.path), False
    yield ("workspace",), os.path.basename(score.workspace), False
    for i, hook in enumerate(score.on_success):
        if hook.job_path:
            yield ("on_success", i, "job_path"), os.path.basename(hook.job_path), True
