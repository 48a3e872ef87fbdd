"""Recorded output of real agents, fed to a parser as the worker would.

The recordings live beside the repository (`../shared/captures`); where they are absent the tests that read them are
skipped, visibly. What is expected of each stands in the tables of the tests, written by hand from the recordings and the
measured facts about each agent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backends.base import STDERR, STDOUT, Backend, Ending, Event, Limited, Result, Run, Session, Usage, Verdict
from ipc.score.shell import fill_backend

CAPTURES = Path(__file__).resolve().parents[3] / "shared" / "captures"
needs_captures = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no recordings in {CAPTURES}")

#: 2026-11-23 00:00:00 UTC, shortly before the limits in the recordings reset.
NOW = 1795392000.0


@dataclass(frozen=True)
class Recording:
    stdout: bytes
    stderr: bytes
    meta: Mapping[str, Any]

    def lines(self) -> Iterable[tuple[str, bytes]]:
        for stream, data in ((STDOUT, self.stdout), (STDERR, self.stderr)):
            lines = data.split(b"\n")
            yield from ((stream, line) for line in (lines if lines[-1] else lines[:-1]))


def cases(agent: str) -> list[str]:
    if not CAPTURES.is_dir():
        return []
    return sorted(path.name.removesuffix(".meta.json") for path in (CAPTURES / agent).glob("*.meta.json"))


def load(agent: str, case: str) -> Recording:
    base = CAPTURES / agent / case
    stdout, stderr = (base.with_name(f"{case}.{stream}").read_bytes() for stream in (STDOUT, STDERR))
    return Recording(stdout, stderr, json.loads(base.with_name(f"{case}.meta.json").read_text()))


def run_of(options: Mapping[str, Any] | None = None, **others: Any) -> Run:
    given: dict[str, Any] = {
        "prompt": "do it",
        "prompt_file": "/state/prompt",
        "workspace": "/work",
        "directory": "/work",
    }
    given |= {"environment": {"TZ": "UTC"}, "session_id": "3f0e1c1e-0000-4000-8000-000000000001"}
    given["clock"] = lambda: NOW
    given["fill"] = fill_backend
    return Run(options or {}, **(given | others))


def ending_of(recording: Recording, events: Iterable[Event]) -> Ending:
    """One killed by its harness is one that Mozart would have stopped: at a limit, after a result, or by its clock."""
    stopped = None
    if recording.meta["timed_out_and_killed"]:
        seen = {type(event) for event in events if not _is_sat_out(event)}
        stopped = "limited" if Limited in seen else "post_result" if Result in seen else "timeout"
    code = recording.meta["exit_code"]
    return Ending(
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        stopped_by=stopped,
        stderr_tail=recording.stderr[-16384:].decode("utf-8", "replace"),
        stdout_tail=recording.stdout[-16384:].decode("utf-8", "replace"),
        now=NOW,
    )


def replay(
    backend: Backend, recording: Recording, options: Mapping[str, Any] | None = None
) -> tuple[list[Event], Verdict]:
    parser = backend.parser(run_of(options))
    events = [
        event for stream, line in recording.lines() if stream in parser.wants for event in parser.feed(stream, line)
    ]
    return events, parser.verdict(ending_of(recording, events))


def _is_sat_out(event: Event) -> bool:
    return isinstance(event, Limited) and event.patient


def story(events: Iterable[Event]) -> str:
    """Events as a sentence. Of several totals in a row only the last counts; a limit that the agent sits out is none."""
    told: list[str] = []
    for event in (each for each in events if not _is_sat_out(each)):
        match event:
            case Session():
                told.append(f"session {event.model or '-'}")
            case Usage():
                cost = "" if event.cost_usd is None else f" ${event.cost_usd:.6g}"
                tokens = f"{event.input}/{event.output}/{event.cache_read}/{event.cache_write}"
                if told and told[-1].startswith("usage"):
                    told.pop()
                told.append(f"usage {tokens}{cost}")
            case Limited():
                until = "" if event.until is None else f" @{event.until:.0f}"
                after = "" if event.retry_after is None else f" +{event.retry_after:.0f}"
                told.append(f"limited {event.kind}{until}{after}")
            case Result():
                told.append("result ok" if event.ok else "result error")
    return " > ".join(told)
