"""What an agent prints is data: never an option of its next command line, never a secret in a log."""

from __future__ import annotations

import base64
import dataclasses
import json
from urllib.parse import quote

import pytest

from backends.base import STDOUT, Ending, Session
from tests.contract.test_robustness import NAMES, every, run_of
from workers.mask import Mask, secret_values

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


PASSWORD = 'pW/9+x"Zq%3~Kd:81'
TOKEN = "sk-ant-api03-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


#: How a known value may be written, and what of it must not be readable.
WRITTEN = {
    "as it is": PASSWORD,
    "in JSON": json.dumps({"a": PASSWORD}),
    "in JSON in JSON": json.dumps({"a": json.dumps({"b": PASSWORD})}),
    "with escaped slashes": json.dumps({"a": PASSWORD}).replace("/", "\\/"),
    "with escaped letters": json.dumps({"a": PASSWORD}).replace("W", "\\u0057").replace("d", "\\u0064"),
    "with all letters escaped": "".join(f"\\u{ord(letter):04x}" for letter in PASSWORD),
    "percent-encoded": quote(PASSWORD, safe=""),
    "percent-encoded, slashes kept": quote(PASSWORD),
    "percent-encoded in lower case": quote(PASSWORD, safe="").replace("%2B", "%2b").replace("%2F", "%2f"),
    "base64": b64(PASSWORD),
    "base64, one byte on": b64("x" + PASSWORD + "yy"),
    "base64, two bytes on": b64("xx" + PASSWORD + "y"),
    "base64 for addresses": b64("u:" + PASSWORD).replace("+", "-").replace("/", "_"),
    "Basic": "Authorization: Basic " + b64(f"me:{PASSWORD}"),
    "an address": "postgres://me:Hidden99@db.example/x",
    "a known format with escapes": json.dumps(TOKEN).replace("A", "\\u0041"),
    "a known format in JSON in JSON": json.dumps(json.dumps({"a": TOKEN})).replace("C", "\\\\u0043"),
    "a known format's slashes": "hooks.slack.com\\/services\\/T0000AAAA\\/B0000BBBB\\/abcdefghijkl",
}


@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.parametrize("name", ["PGPASSWORD", "REGISTRY_AUTH", "SESSION_COOKIE", "SENTRY_DSN", "MY_API_KEY"])
def test_A10_a_secret_is_masked_however_it_is_written(name: str, how: str) -> None:
    mask = Mask(values=secret_values({name: PASSWORD}))
    line = WRITTEN[how]
    shown = mask.apply(f"before {line} behind\n".encode()).decode()
    assert shown.startswith("before ")
    assert shown.endswith(" behind\n")
    assert "[masked:" in shown
    for part in (
        PASSWORD[:6],
        quote(PASSWORD)[4:14],
        b64("me:" + PASSWORD)[8:18],
        "Hidden99",
        TOKEN[14:30],
        "abcdefghijkl",
    ):
        assert part not in shown
        assert part not in shown.encode().decode("unicode_escape", "replace")


def test_A10_the_password_of_any_address_is_known() -> None:
    mask = Mask(values=secret_values({"DATABASE_URL": "postgres://me:s3cr3t%2Fword@db/x"}))
    assert mask.apply(b"s3cr3t%2Fword and s3cr3t/word\n") == b"[masked:secret] and [masked:secret]\n"


@pytest.mark.parametrize(
    "value",
    [
        "true",
        "disabled",
        "required",
        "/run/user/1000/keyring",
        "~/.config/auth.json",
        "https://auth.example.org/login",
        "1234567",
    ],
)
def test_A10_what_only_sounds_secret_is_not_masked(value: str) -> None:
    mask = Mask(values=secret_values({"DISABLE_AUTH": value, "GIT_AUTH": value}))
    text = f"auth is {value}, see https://user@example.org/a:b and http://localhost:8080/@scope/name\n".encode()
    assert mask.apply(text) == text


USAGE = [
    "error: unexpected argument '--colour' found\n\nUsage: agent [OPTIONS]\n\nFor more information, try '--help'.\n",  # clap
    "error: the following required arguments were not provided:\n  <PROMPT>\n",
    "agent [command]\n\nOptions:\n  --help\n\nUnknown argument: colour\n",  # yargs
    "Invalid values:\n  Argument: output, Given: \"xml\", Choices: \"json\"\n",
    "error: unknown option '--colour'\n",  # commander
    "usage: agent [-h] prompt\nagent: error: unrecognized arguments: --colour\n",  # argparse
    "usage: agent [-h] prompt\nagent: error: the following arguments are required: prompt\n",
    "Error: unknown flag: --colour\nUsage:\n  agent [flags]\n",  # cobra
    "Error: accepts 1 arg(s), received 0\n",
    "Usage: agent [OPTIONS]\nTry 'agent --help' for help.\n\nError: No such option: --colour\n",  # click
    "Error: Missing argument 'PROMPT'.\n",
    "No input provided via stdin. Input can be provided by piping data into the agent.\n",
]  # fmt: skip


def ending(said: str, code: int, seconds: float, stdout: str = "", stopped: str | None = None) -> Ending:
    return Ending(code, None, stopped, said, stdout, 1_796_000_000.0, seconds=seconds)


@pytest.mark.parametrize("name", [*NAMES, "command"])
def test_D15_what_parsers_of_command_lines_say_is_a_configuration_error(name: str) -> None:
    program = {"claude_cli": "claude", "codex_cli": "codex", "gemini_cli": "gemini", "opencode_cli": "opencode",
               "qwen-code": "qwen"}.get(name, name if name != "command" else "agent.py")  # fmt: skip
    run = run_of({"command": ["python3", "/opt/agent.py", "--colour"]})
    for said in (said.replace("agent: ", f"{program}: ") for said in USAGE):
        for code in (1, 2, 64):
            verdict = every(name).parser(run).verdict(ending(said, code, 1.0))
            assert verdict.code in ("E301", "E306"), (said, verdict)
        for other in (ending(said, 3, 1.0), ending(said, 1, 60.0), ending("", 1, 1.0, stdout=said + "words\n" * 1000)):
            if name == "command":
                assert every(name).parser(run_of()).verdict(other).code != "E301", said


def test_D15_a_time_out_names_what_it_tried_again() -> None:
    said = "Attempt 1 failed with status 429. Retrying after 5477ms...\n"
    said += "Attempt 2 failed with status 503. Retrying after 9ms...\n"
    for name in (*NAMES, "command"):
        verdict = every(name).parser(run_of()).verdict(ending(said, 0, 900.0, stopped="timeout"))
        assert verdict.code == "E001"
        assert "Attempt 2 failed with status 503" in verdict.message
