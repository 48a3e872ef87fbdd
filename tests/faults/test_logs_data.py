"""What an agent prints is data: never an option of its next command line, never a secret in a log."""

from __future__ import annotations

import dataclasses
import json

import pytest

from backends.base import STDOUT, Session
from tests.contract.test_robustness import NAMES, every, run_of

EVIL = [
    "--dangerously-bypass-approvals-and-sandbox", "-c", "", " ", "a b", "a\n", "$(id)", "../../x", "a" * 129, "é", "\0", "a/b",
]  # fmt: skip
GOOD = ["0199a213-81c0-7800-8aa1-bbab2a035a53", "ses_5f2a", "a.b:c-d_e", "a" * 128]


@pytest.mark.parametrize("name", NAMES)
def test_A04_what_an_agent_says_is_never_an_option(name: str) -> None:
    backend = every(name)
    for id in EVIL:
        argv = backend.command(dataclasses.replace(run_of(), resume=id)).argv
        plain = backend.command(dataclasses.replace(run_of(), resume=None)).argv
        assert list(argv) == list(plain), "a session of its own"
        parser = backend.parser(run_of())
        for line in (
            {"type": "thread.started", "thread_id": id},
            {"type": "system", "subtype": "init", "session_id": id},
            {"type": "init", "session_id": id},
            {"type": "step_start", "sessionID": id, "part": {}},
            {"type": "session", "id": id},
            {"type": "session.start", "data": {"sessionId": id}},
        ):
            for event in parser.feed(STDOUT, json.dumps(line).encode()):
                assert not isinstance(event, Session) or event.session_id == "", line
    for id in GOOD:
        command = backend.command(dataclasses.replace(run_of(), resume=id))
        assert not backend.resumes or any(id in word for word in command.argv)


@pytest.mark.parametrize("name", [*NAMES, "command"])
def test_A04_a_prompt_is_never_an_option(name: str) -> None:
    """It may begin with what an earlier sheet printed."""
    options = {**run_of().options, "command": ["agent", "{prompt}"]}
    run = dataclasses.replace(run_of(), prompt="--never-an-option", options=options)
    assert "--never-an-option" not in every(name).command(run).argv
