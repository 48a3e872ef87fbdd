"""Which rules hold before anybody has worked: a file that an earlier job left behind is no proof of this one's work.

Asked once, before a sheet's first attempt, and only about what is cheap to know: files that are there, and what stands in
those that are not long. Commands are not run for it. Called by `attempt`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ipc.errors import MACHINE_CODES, MozartError
from ipc.messages import Validation
from ipc.score.rules import fill
from workers import workspace
from workers.validate import Ground, Rule, root_of, run_rules

#: Longer files are not read for this.
READ_BYTES = 64 * 1024


async def held(rules: Sequence[tuple[int, Rule]], ground: Ground) -> list[int]:
    """Indices of the rules that are no proof of work: they hold now, or nobody can tell."""
    dear = [index for index, rule in rules if rule["type"] == "command_succeeds"]
    there = [(index, rule) for index, rule in rules if index not in dear and _is_there(rule, ground)]
    dear += [index for index, rule in there if not _is_cheap(rule, ground)]
    # Once each, and none waits for another: nothing is going to appear.
    cheap = [(index, {**rule, "stage": 1, "retry_count": 0}) for index, rule in there if index not in dear]
    ran = await run_rules(cheap, ground)
    return sorted(dear + [each["index"] for each in ran if each["passed"] or each["code"] in MACHINE_CODES])


def compared(ran: Sequence[Validation], held: Sequence[int]) -> list[Validation]:
    """What ran, each with whether it held then: null where nobody looked."""
    return [{**each, "held": _held(each, held)} for each in ran]


def _held(rule: Validation, held: Sequence[int]) -> bool | None:
    if rule["index"] not in held:
        return False
    return None if rule["type"] == "command_succeeds" else True


def _is_there(rule: Rule, ground: Ground) -> bool:
    # What was modified is only known afterwards.
    return rule["type"] != "file_modified" and os.path.exists(_path(rule, ground))


def _is_cheap(rule: Rule, ground: Ground) -> bool:
    if rule["type"] == "file_exists":
        return True
    path = _path(rule, ground)
    return os.path.isfile(path) and os.path.getsize(path) <= READ_BYTES


def _path(rule: Rule, ground: Ground) -> str:
    try:
        return workspace.confine(fill(rule["path"], ground.variables), root_of(rule["path"], ground))
    except MozartError:
        # Said when the rule runs.
        return ""
