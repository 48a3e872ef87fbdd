"""Exit codes: one table of every verb and outcome, for `--help` and README.

A code means the same everywhere; what it means for a verb stands here and nowhere else. Verbs return these codes by the names
in `ipc.errors`; a test runs each row of the table.
"""

from __future__ import annotations

from collections.abc import Iterator

#: What a code means, whoever gives it.
GENERAL = {
    0: "done, or so already",
    1: "it failed, or what was named is not there",
    2: "a mistake in the command line, a file that cannot be read, a score or setting that is refused",
    3: "paused, cancelled, or waiting for a person",
    4: "the daemon is not running, or does not answer",
    5: "it is done, or goes on, but the output could not be written",
    124: "--timeout ran out",
    130: "interrupted (Ctrl-C)",
    141: "whoever read the output went away",
}

#: In the order of the help: what the codes of a verb mean beyond that.
BY_VERB: dict[str, dict[int, str]] = {
    "run": {
        0: "the job completed; with --detach, it was accepted",
        1: "the job failed",
        2: "the score is refused",
        3: "the job was cancelled or paused",
    },
    "status": {0: "shown", 1: "no such job"},
    "list": {0: "shown, also when there are no jobs"},
    "logs": {
        0: "shown; with -f, the job completed",
        1: "no such job, or a log is damaged or missing; with -f, the job failed",
        3: "with -f, the job was cancelled or paused",
    },
    "events": {0: "shown", 1: "no such job"},
    "wait": {
        0: "all completed; with --any, the first one did",
        1: "one failed, or there is no such job",
        3: "one was cancelled or paused",
        124: "--timeout ran out before that",
    },
    "cancel": {0: "cancelled, or cancelled already", 1: "no such job, or it ended otherwise"},
    "pause": {0: "paused, or paused already", 1: "no such job, or it has ended"},
    "resume": {0: "it goes on, or was not paused", 1: "no such job, or it has ended"},
    "retry": {0: "what failed runs again", 1: "no such job, or nothing to run again"},
    "modify": {0: "the new score holds", 1: "no such job, or it has ended", 2: "the score is refused"},
    "priority": {0: "changed", 1: "no such job"},
    "reorder": {0: "moved", 1: "no such job, or it has begun"},
    "limits": {0: "shown, or cleared", 1: "clear: nothing holds that scope"},
    "hold": {0: "held", 1: "no such scope"},
    "group": {0: "shown, or set"},
    "gc": {0: "done", 1: "something could not be removed"},
    "daemon": {0: "it drains"},
    "validate": {0: "valid, perhaps with warnings", 1: "the score has errors", 2: "the file cannot be read"},
    "plan": {0: "shown", 2: "`run` would refuse the score"},
    "schema": {0: "printed"},
    "backends": {0: "shown, or usable", 1: "check: it cannot be used"},
    "completion": {0: "printed"},
}


def of_verb(verb: str) -> str:
    """The end of a verb's `--help`. What every verb may give stands in `mozart --help`."""
    return _listed(BY_VERB[verb])


def general() -> str:
    """The end of `mozart --help`."""
    return _listed(GENERAL)


def _listed(codes: dict[int, str]) -> str:
    return "\n".join(["Exit codes:", *(f"  {code:>3}  {meaning}" for code, meaning in codes.items())])


def markdown() -> Iterator[str]:
    """The table in README: `python -m cli.exits`."""
    codes = [0, 1, 2, 3, 124]
    yield "| verb | " + " | ".join(map(str, codes)) + " |"
    yield "|---" * (len(codes) + 1) + "|"
    for verb, meanings in BY_VERB.items():
        yield f"| `{verb}` | " + " | ".join(meanings.get(code, "") for code in codes) + " |"


if __name__ == "__main__":
    print("\n".join(markdown()))
