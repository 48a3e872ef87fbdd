"""The program `agent NAME`: read the task, let the agent work, tell how it ended. Exit 0 is a whole answer.

Called by `mozartd.entry`. TERM ends it at once, as a program that holds nothing but a connection may end.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from agents.told import Failed, Task, tell

AGENTS = ("anthropic_api", "ollama", "recursive_light")


def main(words: Sequence[str]) -> NoReturn:
    if len(words) != 1 or words[0] not in AGENTS:
        sys.exit(f"cannot run the agent {' '.join(words)!r}: known are {', '.join(AGENTS)}")
    sys.exit(run(words[0]))


def run(name: str) -> int:
    # The vendors' packages are thousands of modules: a tenth of their import would go into looking for garbage in them.
    gc.set_threshold(100_000, 50, 100)
    try:
        stop = import_module(f"agents.{name}").work(Task.read())
    except Failed as failed:
        tell("error", **failed.facts)
        return 1
    except BrokenPipeError:
        return 1  # nobody reads any more
    tell("result", stop=stop)
    return 0
