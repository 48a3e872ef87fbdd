"""A started attempt becomes a complete assignment for its worker.

Scores live in the store; a few stay parsed in memory. An assignment whose score is at hand goes out at once, another one when
the store has answered. Sends to the worker that the attempt was started on; when that worker is gone meanwhile, the crew has
given the attempt back and nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from ipc.messages import Assign
from ipc.paths import Paths
from ipc.score import routing
from ipc.score.expand import PlannedSheet
from ipc.score.schema import Backend, Score
from ipc.score.variables import built_in
from mozartd.coordinator import budget
from mozartd.coordinator.book import Book
from mozartd.coordinator.crew import Crew
from mozartd.coordinator.followers import Followers
from mozartd.coordinator.model import Attempt, Job, Sheet
from mozartd.store.store import Store

log = logging.getLogger(__name__)

#: Parsed scores kept in memory.
KEPT = 64


@dataclass(slots=True)
class Parts:
    """A submitted score, cut into what assignments repeat."""

    score: Score
    environment: dict[str, str]
    backends: dict[int, list[tuple[Backend, dict[str, Any]]]]
    """What sheets run on, the preferred first, as model and as an assignment tells it; 0: those without one of their own."""
    prompt: dict[str, Any]
    validations: list[dict[str, Any]]
    skip_commands: dict[int, dict[str, Any]]

    @classmethod
    def of(cls, score: Score, environment: dict[str, str]) -> Parts:
        sheet = score.sheet
        return cls(
            score, environment, {n: _choices(score, n) for n in (0, *sheet.backends)},
            score.prompt.model_dump(mode="json"), [rule.model_dump(mode="json") for rule in score.validations],
            {n: command.model_dump(mode="json") for n, command in sheet.skip_when_command.items()},
        )  # fmt: skip

    def backend_of(self, n: int, choice: int = 0) -> dict[str, Any]:
        """The section that sheet n runs with: its own, or a fallback's."""
        return self._choice(n, choice)[1]

    def timeout_of(self, n: int, choice: int) -> float:
        return self._choice(n, choice)[0].timeout_of(n)

    def _choice(self, n: int, choice: int) -> tuple[Backend, dict[str, Any]]:
        choices = self.backends.get(n) or self.backends[0]
        # A score that was modified meanwhile may have fewer.
        return choices[choice if choice < len(choices) else 0]


def _choices(score: Score, n: int) -> list[tuple[Backend, dict[str, Any]]]:
    more: dict[str, Any] = {"rate_limit_patterns": score.rate_limit.detection_patterns}
    if score.bridge and score.bridge.enabled:
        # The backend of Ollama's models needs it beside its own section.
        more["bridge"] = score.bridge.model_dump(mode="json")
    sections = [section for section, _ in routing.sections(score, n)]
    told = [{name: value for name, value in section.items() if name != "fallbacks"} | more for section in sections]
    return list(zip(map(Backend.model_validate, sections), told, strict=True))


class Scores:
    """The submitted scores: the newest used in memory, all in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[int, Parts] = OrderedDict()

    def keep(self, seq: int, parts: Parts) -> None:
        self._kept[seq] = parts
        self._kept.move_to_end(seq)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def forget(self, seq: int) -> None:
        """The job has ended: whoever still asks for its score has it read again."""
        self._kept.pop(seq, None)

    def at_hand(self, seq: int) -> Parts | None:
        return self._kept.get(seq)

    async def load(self, seq: int) -> Parts:
        parts = self._kept.get(seq)
        if parts is None:
            row = await self._store.read_one("score_of", seq=seq)
            assert row is not None
            parts = Parts.of(Score.model_validate(orjson.loads(row["score"])), orjson.loads(row["environment"]))
        self.keep(seq, parts)
        return parts


class Assigner:
    def __init__(
        self,
        book: Book,
        crew: Crew,
        scores: Scores,
        followers: Followers,
        store: Store,
        paths: Paths,
        segment_bytes: int,
    ) -> None:
        self._book = book
        self._crew = crew
        self._scores = scores
        self._followers = followers
        self._store = store
        self._paths = paths
        self._segment_bytes = segment_bytes
        self._tasks: set[asyncio.Task[None]] = set()

    def assign(self, attempt: Attempt) -> None:
        """The attempt's row is on disk: send the assignment."""
        parts = self._scores.at_hand(attempt.seq)
        if parts is not None and parts.score.cross_sheet is None:
            self._send(attempt, parts, {}, {})
            return
        task = asyncio.get_running_loop().create_task(self._load_and_send(attempt), name=f"assign {attempt.id}")
        self._tasks.add(task)
        task.add_done_callback(partial(self._loaded, attempt))

    def _loaded(self, attempt: Attempt, task: asyncio.Task[None]) -> None:
        """Nobody else would ever say of an attempt that its assignment could not be made: it would run for ever."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("cannot assign %s", attempt.id, exc_info=error)
            self._crew.refuse(attempt, "E402", f"cannot load its score: {error}", "the daemon's log says more")

    async def _load_and_send(self, attempt: Attempt) -> None:
        parts = await self._scores.load(attempt.seq)
        outputs, files = await self._previous(attempt, parts.score)
        self._send(attempt, parts, outputs, files)

    async def _previous(self, attempt: Attempt, score: Score) -> tuple[dict[int, str], dict[str, str]]:
        """What earlier sheets printed and wrote, as `cross_sheet` asks for it."""
        cross = score.cross_sheet
        if cross is None or attempt.id not in self._book.running:
            return {}, {}
        first = 1 if cross.lookback_sheets == 0 else max(1, attempt.n - cross.lookback_sheets)
        sheets = orjson.dumps(list(range(first, attempt.n))).decode()
        outputs: dict[int, str] = {}
        files: dict[str, str] = {}
        for row in await self._store.read("last_attempts", seq=attempt.seq, sheets=sheets):
            facts = orjson.loads(row["facts"])
            if cross.auto_capture_stdout:
                outputs[row["n"]] = facts.get("tail", "")[-cross.max_output_chars :]
            files.update(facts.get("captured") or {})
        return outputs, files

    def _send(self, attempt: Attempt, parts: Parts, outputs: dict[int, str], files: dict[str, str]) -> None:
        if attempt.id not in self._book.running:
            return
        job, sheet = self._book.find(attempt)
        assignment = self._build(attempt, job, sheet, parts)
        assignment["variables"]["previous_outputs"] = {str(n): text for n, text in outputs.items()}
        assignment["variables"]["previous_files"] = files
        self._followers.started(attempt, assignment["log"], assignment["backend"])
        self._crew.assign(attempt, dict(assignment))

    def _backend(self, job: Job, sheet: Sheet, parts: Parts) -> dict[str, Any]:
        section = parts.backend_of(sheet.n, sheet.history.choice)
        left = budget.left(job, sheet, self._book.cost_running(job))
        return section if left is None else {**section, "cost_left_usd": left}

    def _build(self, attempt: Attempt, job: Job, sheet: Sheet, parts: Parts) -> Assign:
        score = parts.score
        history = sheet.history
        resumed = attempt.mode != "normal"
        cross, stale = score.cross_sheet, score.stale_detection
        return {
            "type": "assign", "attempt": attempt.id, "job": job.id, "sheet": sheet.n, "k": attempt.k,
            "mode": attempt.mode,  # type: ignore[typeddict-item]
            "log": self._paths.attempt_log(job.id, sheet.n, attempt.k), "log_segment_bytes": self._segment_bytes,
            "prompt_file": self._paths.attempt_prompt(job.id, sheet.n, attempt.k),
            "score_dir": os.path.dirname(job.score_path), "workspace": job.workspace, "environment": parts.environment,
            "backend": self._backend(job, sheet, parts), "timeout_seconds": parts.timeout_of(sheet.n, history.choice),
            "idle_seconds": stale.idle_timeout_seconds if stale and stale.enabled else None,
            "first_byte_seconds": stale.first_byte_seconds if stale else None,
            "prompt": parts.prompt, "variables": _variables(job, sheet, attempt, score), "validations": parts.validations,
            "skip_command": parts.skip_commands.get(sheet.n),
            "capture": cross.model_dump(mode="json") if cross and cross.capture_files else None,
            "last": sheet.last, "held": history.held,
            "lessons": _lessons(job, sheet), "session_id": history.session_id if resumed else None,
            "session_used": history.used if resumed else {},
            "watched": self._followers.is_watched(attempt),
        }  # fmt: skip


def _variables(job: Job, sheet: Sheet, attempt: Attempt, score: Score) -> dict[str, Any]:
    planned = PlannedSheet(
        sheet.n, sheet.stage, sheet.instance, sheet.fan_count, sheet.start_item, sheet.end_item, sheet.dependencies
    )
    return built_in(score, planned, job.total_sheets, job_id=job.id, attempt=attempt.k)


def _lessons(job: Job, sheet: Sheet) -> list[str]:
    """What failed in this job's other sheets and still concerns them, at most ten sentences."""
    others = [job.sheets[n] for n in sorted(job.troubled)[:11] if n != sheet.n]
    return [f"sheet {other.n}: {other.reason}" for other in others[:10] if other.reason]
