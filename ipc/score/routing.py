"""Where the sheets of Ollama go that `bridge:` may send to Claude: the complex ones at once, the others when Ollama fails.

`complexity` is a pure measure of a prompt, 0 to 1; `route` compares it with the score's threshold. `submit` asks for each sheet
when a score becomes a job, so that it is known before an attempt where it runs and why; `plan` shows the same. The coordinator
treats Claude as one fallback more (`fallbacks`).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ipc.score.expand import PlannedSheet
from ipc.score.prompt import assemble
from ipc.score.rendering import RENDERING, rendered
from ipc.score.rules import applicable
from ipc.score.schema import FALLBACK_WAIT, Score, overlay
from ipc.score.template import TemplateProblem
from ipc.score.variables import built_in, merge

if TYPE_CHECKING:
    from ipc.score.optional import Bridge

#: Backends that are Claude; a fallback of such a type is the one that is meant, with all that it sets.
CLAUDE = ("claude_cli", "anthropic_api")
#: Where nothing else is said.
CLAUDE_CLI = {"type": "claude_cli"}
#: Seconds that the prompts of a whole score may take to be made; the remaining sheets are judged by the template as written.
PATIENCE = 5.0
#: Of English, and of most code.
CHARACTERS_PER_TOKEN = 4

_STEP = re.compile(r"(?m)^[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]+\S")
_PATH = re.compile(r"(?<![\w/.])(?:[\w.-]+/)*[\w-]+\.[A-Za-z]\w{0,4}\b(?![/(])")
_HARD = re.compile(
    r"(?i)\b(?:architect|analy[sz]|concurren|deadlock|debug|design|integrat|migrat|optimi[sz]|proof|prove|race condition"
    r"|refactor|re-?write|root cause|secur|trade-?off|vulnerab)\w*"
)


class Facts(NamedTuple):
    """What makes a task hard for a small model. Each is a share of what is plainly too much for it."""

    length: float
    """Of the room in its context."""
    steps: float
    files: float
    checks: float
    words: float
    """That ask for judgement: design, debug, migrate."""


#: How far each alone can go.
_WEIGHTS = Facts(length=0.6, steps=0.5, files=0.45, checks=0.4, words=0.6)
#: So many are plainly too much.
_MANY = Facts(length=1, steps=15, files=12, checks=10, words=5)
_NAMES = ("", "step", "file", "check", "word of judgement")
_PLURALS = ("", "steps", "files", "checks", "words of judgement")


class Route(NamedTuple):
    to_claude: bool
    reason: str


def measure(prompt: str, checks: int, room: int) -> Facts:
    """`checks` rules will be applied; `room` tokens are left in the model's context."""
    return Facts(
        len(prompt) / CHARACTERS_PER_TOKEN / max(room, 1),
        len(_STEP.findall(prompt)) / _MANY.steps,
        len(set(_PATH.findall(prompt))) / _MANY.files,
        checks / _MANY.checks,
        len({found.lower()[:6] for found in _HARD.findall(prompt)}) / _MANY.words,
    )


def complexity(facts: Facts) -> float:
    """0 to 1, rising with each fact: what the facts leave of simplicity multiplies. What does not fit is 1."""
    if facts.length > 1:
        return 1.0
    return 1.0 - math.prod(1.0 - weight * min(fact, 1.0) for fact, weight in zip(facts, _WEIGHTS, strict=True))


def route(facts: Facts, threshold: float) -> Route:
    found = complexity(facts)
    above = found > threshold
    sign = "above" if above else "not above"
    return Route(above, f"complexity {found:.2f} is {sign} the threshold {threshold:g} ({_most(facts)})")


def _most(facts: Facts) -> str:
    """What counts most, in words."""
    if facts.length > 1:
        return "it does not fit into the context"
    weighed = [weight * min(fact, 1.0) for fact, weight in zip(facts, _WEIGHTS, strict=True)]
    most = weighed.index(max(weighed))
    if most == 0:
        return f"it takes {facts.length:.0%} of the context"
    number = round(facts[most] * _MANY[most])
    return f"{number} {_NAMES[most] if number == 1 else _PLURALS[most]}"


# ---- a score's sheets -----------------------------------------------------------------------------------------------


def bridge_of(score: Score) -> dict[str, Any] | None:
    return score.bridge.model_dump(mode="json") if score.bridge else None


def sections(score: Score, n: int) -> list[tuple[dict[str, Any], float]]:
    """What sheet n may run on: dumped backend sections, the preferred first, each with the seconds that one waits for the one
    before it."""
    own = score.backend_for(n).model_dump(mode="json")
    others = fallbacks(own, bridge_of(score))
    return [(own, 0.0), *((overlay(own, each), float(each.get("max_wait", FALLBACK_WAIT))) for each in others)]


def fallbacks(section: Mapping[str, Any], bridge: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A dumped backend section's fallbacks, with Claude behind them when `bridge` may send a sheet there."""
    if bridge is None or not adds_claude(section, bridge):
        return list(section["fallbacks"])
    # Nobody waits for Ollama where Claude may do it.
    return [*section["fallbacks"], {**CLAUDE_CLI, "max_wait": 0.0 if bridge["fallback_to_claude"] else math.inf}]


def adds_claude(section: Mapping[str, Any], bridge: Mapping[str, Any] | None) -> bool:
    return _leads_to_claude(section, bridge) and not claude_among(section["fallbacks"])


def claude_among(given: Sequence[Mapping[str, Any]]) -> int:
    """Which choice it is: 1 for the first fallback; 0 when it is none of them."""
    return next((i for i, each in enumerate(given, 1) if each.get("type") in CLAUDE), 0)


def leaves_when_it_fails(section: Mapping[str, Any], bridge: Mapping[str, Any] | None) -> bool:
    return bool(bridge and bridge["fallback_to_claude"] and _leads_to_claude(section, bridge))


def _leads_to_claude(section: Mapping[str, Any], bridge: Mapping[str, Any] | None) -> bool:
    if bridge is None or not bridge["enabled"] or section["type"] != "ollama":
        return False
    return bool(bridge["hybrid_routing_enabled"] or bridge["fallback_to_claude"])


def routes(score: Score, sheets: Sequence[PlannedSheet], directory: str) -> Iterator[tuple[int, Route]]:
    """For each sheet whose way its complexity decides. `directory` is what the template includes from."""
    bridge = score.bridge
    if bridge is None or not (bridge.enabled and bridge.hybrid_routing_enabled):
        return
    base = score.backend.model_dump(mode="json")
    rooms = {n: _room(overlay(base, over.model_dump(mode="json")), bridge) for n, over in score.sheet.backends.items()}
    rooms[0] = _room(base, bridge)
    rules = [rule.model_dump(mode="json") for rule in score.validations]
    until = time.monotonic() + PATIENCE
    prompt = score.prompt.model_dump(mode="json")
    for sheet in sheets:
        room = rooms.get(sheet.n, rooms[0])
        if room is None:
            continue
        known = built_in(score, sheet, len(sheets))
        text = _prompt(prompt, known, rules, directory, until - time.monotonic())
        checks = len(applicable(rules, merge(known, score.prompt.variables)))
        yield sheet.n, route(measure(text, checks, room), bridge.complexity_threshold)


def _room(section: Mapping[str, Any], bridge: Bridge) -> int | None:
    if section["type"] != "ollama":
        return None
    return int(section["ollama"]["num_ctx"]) * bridge.context_budget_percent // 100


def _prompt(prompt: dict[str, Any], known: dict[str, Any], rules: Sequence[Any], directory: str, left: float) -> str:
    """As written where it cannot be made yet, since it may need what earlier sheets will print, or not in the time left."""
    written = str(prompt["template"] or "")
    if left <= 0:
        return written
    bounds = replace(RENDERING, seconds=min(RENDERING.seconds, left))
    try:
        return rendered(assemble, prompt, known, rules, "normal", None, (), directory, bounds=bounds)
    except TemplateProblem:
        return written
