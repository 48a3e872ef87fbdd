"""Our own agents against real servers on the loopback: what their lines mean, and each through a real daemon.

Anthropic's API is that of tests/fakes/model_apis.py, Ollama's and Recursive Light's of tests/fakes/small_apis.py. The
vendors' packages are extras: where one is missing, its tests are skipped and say so.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import backends
from backends.base import STDOUT, Ending, Event, Limited, Run, Session, Usage, Verdict
from ipc.score.optional import Bridge
from ipc.score.schema import Backend
from tests import ROOT
from tests.fakes.small_apis import serving
from tests.process.daemon import Daemon, is_alive, wait_until

FAKES = ROOT / "tests" / "fakes"
KEY = "sk-ant-invented-0123456789"
needs_anthropic = pytest.mark.skipif(not find_spec("anthropic"), reason="the extra mozartd[anthropic] is not installed")
needs_ollama = pytest.mark.skipif(
    not (find_spec("ollama") and find_spec("mcp")), reason="the extra mozartd[ollama] is not installed"
)


@dataclass
class Ended:
    lines: list[dict[str, Any]]
    events: list[Event]
    verdict: Verdict
    rendered: str
    stderr: str

    @property
    def text(self) -> str:
        return "".join(line["text"] for line in self.lines if line["type"] == "text")

    def last(self, kind: type) -> Any:
        return [event for event in self.events if isinstance(event, kind)][-1]


def run_of(prompt: str = "hello", system: str | None = None, **options: Any) -> Run:
    bridge = options.pop("bridge", None)
    found = Backend.model_validate(options).model_dump(mode="json")
    if bridge is not None:
        found["bridge"] = Bridge.model_validate({"enabled": True, **bridge}).model_dump(mode="json")
    return Run(found, prompt, "/p", "/", "/", {}, "0f0e", system_prompt=system)


def start(run: Run, **environment: str) -> subprocess.Popen[bytes]:
    command = backends.load(run.options["type"]).command(run)
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command.argv, env=env, start_new_session=True, **pipes)  # type: ignore[call-overload]
    process.stdin.write(command.stdin)
    process.stdin.close()
    process.stdin = None
    return process


def ask(run: Run, **environment: str) -> Ended:
    """Run it to its end and judge it as a worker does."""
    with start(run, **environment) as process:
        stdout, stderr = process.communicate(timeout=40)
    return judge(run, stdout, stderr.decode(), process.returncode)


def judge(run: Run, stdout: bytes, stderr: str, code: int) -> Ended:
    backend = backends.load(run.options["type"])
    parser, renderer = backend.parser(run), backend.renderer()
    events: list[Event] = []
    rendered = ""
    for line in stdout.splitlines():
        events += parser.feed(STDOUT, line)
        rendered += renderer.feed(STDOUT, line)
    killed = -code if code < 0 else None
    ending = Ending(None if killed else code, killed, None, stderr, stdout.decode()[-16384:], time.time())
    lines = [json.loads(line) for line in stdout.splitlines()]
    return Ended(lines, events, parser.verdict(ending), rendered + renderer.finish(), stderr)


Asking = Callable[..., Ended]
Claude = Llama = Callable[..., Ended]


@pytest.fixture(scope="module")
def warm() -> Iterator[Asking]:
    """As `ask`, but the vendors' packages are imported once for all: they take up to 2 s."""
    command = [sys.executable, "-P", str(FAKES / "warm_agents.py")]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout

        def ask_warm(run: Run, **environment: str) -> Ended:
            stdin = backends.load(run.options["type"]).command(run).stdin
            assert stdin
            env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment}
            case = {"name": run.options["type"], "stdin": stdin.decode(), "environment": env}
            print(json.dumps(case), file=process.stdin, flush=True)
            ended = json.loads(process.stdout.readline())
            return judge(run, ended["stdout"].encode(), ended["stderr"], ended["code"])

        yield ask_warm
        process.stdin.close()


# ---- Anthropic ------------------------------------------------------------------------------------------------------


@pytest.fixture
def anthropic_api(tmp_path: Path) -> Iterator[Any]:
    """A function that has the server play a script, and gives its base URL."""
    command = [sys.executable, str(FAKES / "model_apis.py"), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        address = server.stdout.readline().strip()

        def play(*steps: str) -> str:
            (tmp_path / "play").write_text("\n".join(steps) + "\n")
            return f"{address}/play"

        yield play
        server.stdin.close()


@pytest.fixture
def claude(warm: Asking) -> Claude:
    def ask_claude(url: str, prompt: str = "hello", system: str | None = None, **options: Any) -> Ended:
        run = run_of(prompt, system, type="anthropic_api", **options)
        return warm(run, ANTHROPIC_BASE_URL=url, ANTHROPIC_API_KEY=KEY)

    return ask_claude


@needs_anthropic
def test_claude_answers_in_pieces(claude: Claude, anthropic_api: Any, tmp_path: Path) -> None:
    ended = claude(anthropic_api("say one two three four five"), "count", "be brief", max_tokens=77, temperature=0.2)
    assert ended.verdict == Verdict("ok"), ended
    assert ended.text == "one two three four five"
    assert [line["type"] for line in ended.lines].count("text") > 1
    assert ended.last(Session).session_id == "0f0e"
    assert ended.last(Usage).input > 0
    assert ended.last(Usage).output > 0
    assert "one two three four five" in ended.rendered
    asked = json.loads((tmp_path / "play.requests").read_text().splitlines()[0])["body"]
    assert (asked["system"], asked["max_tokens"], asked["temperature"], asked["stream"]) == ("be brief", 77, 0.2, True)


@needs_anthropic
@pytest.mark.parametrize(
    ("step", "verdict", "code"),
    [
        ("status 401", "auth", "E502"),
        ("status 404", "failed", "E506"),
        ("status 429", "rate_limited", "E101"),
        ("status 500", "overloaded", "E103"),
        ("status 529", "overloaded", "E103"),
        ("invalid prompt is too long: 210211 tokens > 200000 maximum", "failed", "E507"),
        ("invalid input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000", "failed", "E507"),
        ("invalid messages: at least one message is required", "failed", "E301"),
        ("invalid Your credit balance is too low to access the Anthropic API.", "rate_limited", "E104"),
        ("cut a long sentence that never comes to its end", "failed", "E901"),
    ],
)
def test_claude_fails(claude: Claude, anthropic_api: Any, tmp_path: Path, step: str, verdict: str, code: str) -> None:
    ended = claude(anthropic_api(step))
    assert (ended.verdict.name, ended.verdict.code) == (verdict, code), ended
    assert len((tmp_path / "play.requests").read_text().splitlines()) == 1, "it retried by itself"


@needs_anthropic
def test_a_model_that_takes_no_temperature_is_asked_without(claude: Claude, anthropic_api: Any, tmp_path: Path) -> None:
    ended = claude(anthropic_api("invalid `temperature` is deprecated for this model.", "say cool"))
    assert (ended.verdict, ended.text) == (Verdict("ok"), "cool")
    assert "takes no temperature" in ended.rendered
    asked = [json.loads(line)["body"] for line in (tmp_path / "play.requests").read_text().splitlines()]
    assert ["temperature" in body for body in asked] == [True, False]


@pytest.mark.parametrize(("name", "package"), [("anthropic_api", "anthropic"), ("ollama", "ollama")])
def test_a_missing_package_is_named(name: str, package: str) -> None:
    run = run_of(type=name)
    command = backends.load(name).command(run)
    argv = [command.argv[0], "-S", *command.argv[1:]]  # without site-packages
    done = subprocess.run(argv, input=command.stdin, capture_output=True, env={"ANTHROPIC_API_KEY": KEY}, timeout=40)
    ended = judge(run, done.stdout, done.stderr.decode(), done.returncode)
    assert (ended.verdict.name, ended.verdict.code) == ("missing", "E505"), ended
    assert f"mozartd[{package}]" in ended.verdict.hint


@needs_anthropic
def test_claude_says_when_a_limit_ends(claude: Claude, anthropic_api: Any) -> None:
    ended = claude(anthropic_api("status 429 retry-after:120"))
    assert ended.last(Limited).until == pytest.approx(time.time() + 120, abs=20)
    reset = "anthropic-ratelimit-tokens-remaining:0 anthropic-ratelimit-tokens-reset:2099-01-01T00:00:00Z"
    ended = claude(anthropic_api(f"status 429 {reset}"))
    assert "8 days" in ended.verdict.evidence


@needs_anthropic
def test_claude_is_not_there(claude: Claude) -> None:
    ended = claude("http://127.0.0.1:1")
    assert (ended.verdict.name, ended.verdict.code) == ("failed", "E501")


def test_a_missing_key_is_named() -> None:
    ended = ask(run_of(type="anthropic_api", api_key_env="MY_KEY"))
    assert (ended.verdict.name, ended.verdict.code) == ("failed", "E502")
    assert "MY_KEY" in ended.verdict.message
    assert "api_key_env" in ended.verdict.hint


# ---- Ollama ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def llama(warm: Asking) -> Llama:
    def ask_llama(address: str, prompt: str = "hello", bridge: Any = None, **options: Any) -> Ended:
        return warm(run_of(prompt, "be kind", type="ollama", ollama={"base_url": address, **options}, bridge=bridge))

    return ask_llama


def tools(*arguments: str, **more: Any) -> dict[str, Any]:
    server = {"name": "fake", "command": sys.executable, "args": [str(FAKES / "mcp_server.py"), *arguments]}
    return {"mcp_servers": [{**server, **more.pop("server", {})}], **more}


@needs_ollama
def test_a_model_of_ollama_answers_in_pieces(llama: Llama) -> None:
    with serving(("say", "one ", "two")) as server:
        ended = llama(server.address, num_ctx=8192, keep_alive="1m")
    assert ended.verdict == Verdict("ok"), ended
    assert [line["text"] for line in ended.lines if line["type"] == "text"] == ["one ", "two"]
    assert ended.last(Usage) == Usage(11, 3)
    assert server.paths == ["/api/tags", "/api/chat"]
    asked = server.questions[0]
    assert (asked["options"]["num_ctx"], asked["keep_alive"]) == (8192, "1m")
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]


@needs_ollama
@pytest.mark.parametrize(
    ("step", "verdict", "code"),
    [
        (("status", 401), "auth", "E502"),
        (("status", 404), "failed", "E506"),
        (("status", 429), "rate_limited", "E101"),
        (("status", 503), "overloaded", "E103"),
        (("cut", "half"), "failed", "E901"),
        (("length", "half"), "capped", "E509"),
    ],
)
def test_a_model_of_ollama_fails(llama: Llama, step: Any, verdict: str, code: str) -> None:
    with serving(step) as server:
        ended = llama(server.address)
    assert (ended.verdict.name, ended.verdict.code) == (verdict, code), ended


@needs_ollama
def test_ollama_is_not_there(llama: Llama) -> None:
    ended = llama("http://127.0.0.1:1")
    assert (ended.verdict.name, ended.verdict.code) == ("failed", "E501"), ended
    assert "ollama serve" in ended.verdict.hint


@needs_ollama
def test_a_model_uses_the_tools_of_an_mcp_server(llama: Llama) -> None:
    with serving(("tool", "shout", {"text": "hey"}), ("tool", "fail", {"text": ""}), ("say", "done")) as server:
        ended = llama(server.address, bridge=tools())
    assert ended.verdict == Verdict("ok"), ended
    offered = {tool["function"]["name"] for tool in server.questions[0]["tools"]}
    assert offered == {"shout", "flood", "fail"}
    answers = [message for message in server.questions[-1]["messages"] if message["role"] == "tool"]
    assert [answer["content"] for answer in answers] == ["HEY", "it broke"]
    assert ended.last(Usage) == Usage(33, 9)
    assert "→ shout: text=hey" in ended.rendered
    assert "✗ it broke" in ended.rendered


@needs_ollama
def test_a_model_that_never_stops_calling_tools_is_stopped(llama: Llama) -> None:
    with serving(("tool", "shout", {"text": "again"})) as server:
        ended = llama(server.address, bridge=tools(), max_tool_iterations=3)
    assert (ended.verdict.name, ended.verdict.code) == ("capped", "E509"), ended
    assert len(server.questions) == 3


@needs_ollama
def test_a_tools_answer_is_cut_to_the_context(llama: Llama) -> None:
    with serving(("tool", "flood", {"text": ""}), ("say", "done")) as server:
        ended = llama(server.address, bridge=tools(context_budget_percent=50), num_ctx=8192)
    assert ended.verdict == Verdict("ok"), ended
    answer = server.questions[-1]["messages"][-1]["content"]
    assert 12_000 < len(answer) <= 4096 * 4
    assert "200000 characters do not fit" in answer


@needs_ollama
def test_a_prompt_that_cannot_fit_is_refused(llama: Llama) -> None:
    with serving(("say", "never")) as server:
        ended = llama(server.address, "word " * 5000, num_ctx=4096)
    assert (ended.verdict.name, ended.verdict.code) == ("failed", "E507"), ended
    assert not server.questions


@needs_ollama
def test_only_tools_that_fit_are_offered(llama: Llama) -> None:
    with serving(("say", "ok")) as server:
        most = llama(server.address, bridge=tools("long"), num_ctx=32768, compression_level="minimal")
        none = llama(
            server.address, bridge=tools("long"), num_ctx=4096, compression_level="minimal", dynamic_tools=False
        )
        short = llama(server.address, bridge=tools("long"), num_ctx=4096)
    assert most.verdict == short.verdict == Verdict("ok"), (most, short)
    assert [len(question["tools"]) for question in server.questions] == [2, 3]
    assert none.verdict.code == "E507"


@needs_ollama
@pytest.mark.parametrize(
    "bridge", [tools("silent", server={"timeout_seconds": 0.5}), tools(server={"command": "/nowhere/server"})], ids=str
)
def test_an_mcp_server_that_does_not_work_is_named(llama: Llama, bridge: Any) -> None:
    with serving(("say", "never")) as server:
        ended = llama(server.address, bridge=bridge)
    assert (ended.verdict.name, ended.verdict.code) == ("failed", "E305"), ended
    assert "'fake'" in ended.verdict.evidence


# ---- Recursive Light ------------------------------------------------------------------------------------------------


def light(address: str, **options: Any) -> Ended:
    return ask(run_of(type="recursive_light", recursive_light={"endpoint": address, **options}))


def test_recursive_light_answers() -> None:
    with serving(("say", "so", "be it")) as server:
        ended = light(server.address, user_id="u1")
    assert ended.verdict == Verdict("ok"), ended
    assert ended.text == "so be it"
    assert server.paths == ["/health", "/api/process"]
    assert server.questions == [{"user_id": "u1", "message": "hello"}]
    assert server.headers[0]["X-Mozart-User-ID"] == "u1"


@pytest.mark.parametrize(
    ("status", "headers", "code"), [(401, {}, "E502"), (429, {"Retry-After": "60"}, "E101"), (500, {}, "E103")]
)
def test_recursive_light_fails(status: int, headers: Any, code: str) -> None:
    with serving(("status", status, headers)) as server:
        ended = light(server.address)
    assert ended.verdict.code == code, ended
    if headers:
        assert ended.last(Limited).until == pytest.approx(time.time() + 60, abs=20)


def test_recursive_light_is_not_there() -> None:
    assert light("http://127.0.0.1:1").verdict.code == "E501"
    assert light("ftp://127.0.0.1").verdict.code == "E301"


# ---- through a daemon -----------------------------------------------------------------------------------------------


def score_of(directory: Path, backend: Any, **fields: Any) -> Path:
    path = directory / "asking.yaml"
    score = {
        "name": "asking",
        "workspace": str(directory / "workspace"),
        "backend": backend,
        "sheet": {"size": 1, "total_items": 1},
        "prompt": {"template": "hello"},
        "retry": {"max_retries": 1},
        **fields,
    }
    path.write_text(json.dumps(score))
    return path


@needs_anthropic
def test_a_daemon_asks_claude(shared_daemon: Daemon, anthropic_api: Any) -> None:
    env = {"ANTHROPIC_BASE_URL": anthropic_api(f"say my key is {KEY}"), "ANTHROPIC_API_KEY": KEY}
    job = shared_daemon.run(score_of(shared_daemon.home, {"type": "anthropic_api", "env": env}))
    assert shared_daemon.wait(job)["state"] == "completed", shared_daemon.job(job)
    attempt = shared_daemon.job(job)["sheets"][0]["attempts"][0]
    assert attempt["tokens"]["output"] > 0
    assert "✓ done" in shared_daemon.mozart("logs", job).stdout


@needs_anthropic
def test_claude_is_cancelled_at_once_in_the_middle_of_an_answer(shared_daemon: Daemon, anthropic_api: Any) -> None:
    env = {"ANTHROPIC_BASE_URL": anthropic_api("hang It is a long story, and"), "ANTHROPIC_API_KEY": KEY}
    job = shared_daemon.run(score_of(shared_daemon.home, {"type": "anthropic_api", "env": env}))
    follower = shared_daemon.popen("logs", job, "-f", stderr=subprocess.DEVNULL)
    assert follower.stdout
    assert b"It is" in follower.stdout.read(5)
    pid = shared_daemon.job(job)["sheets"][0]["attempts"][0]["agent_pid"]
    shared_daemon.request("cancel", job=job)
    assert shared_daemon.wait(job)["state"] == "cancelled"
    assert not is_alive(pid)
    attempt = shared_daemon.job(job)["sheets"][0]["attempts"][0]
    assert attempt["verdict"] == "cancelled"
    assert attempt["signal"] != signal.SIGKILL, "it went when it was told to, nobody waited for its grace to pass"


@needs_anthropic
def test_a_limit_of_claudes_holds_and_costs_no_retry(shared_daemon: Daemon, anthropic_api: Any) -> None:
    env = {"ANTHROPIC_BASE_URL": anthropic_api("status 429 retry-after:3600"), "ANTHROPIC_API_KEY": KEY}
    job = shared_daemon.run(score_of(shared_daemon.home, {"type": "anthropic_api", "env": env}))
    hold = shared_daemon.wait_for(job, "sheet.waiting", sheet=1)
    assert hold["data"]["until"]
    sheet = shared_daemon.job(job)["sheets"][0]
    assert [attempt["code"] for attempt in sheet["attempts"]] == ["E101"]
    shared_daemon.mozart("cancel", job)


@needs_ollama
def test_a_daemon_gives_tools_to_a_model(shared_daemon: Daemon) -> None:
    with serving(("tool", "shout", {"text": "hey"}), ("say", "done")) as server:
        backend = {"type": "ollama", "ollama": {"base_url": server.address}}
        job = shared_daemon.run(score_of(shared_daemon.home, backend, bridge={"enabled": True, **tools()}))
        assert shared_daemon.wait(job)["state"] == "completed", shared_daemon.job(job)
    assert server.questions[-1]["messages"][-1]["content"] == "HEY"


@needs_ollama
@pytest.mark.parametrize("number", [None, signal.SIGKILL], ids=["cancel", "kill -9"])
def test_nothing_outlives_an_agent_that_is_stopped(daemon: Daemon, number: signal.Signals | None) -> None:
    with serving(("hang", "half")) as server:
        backend = {"type": "ollama", "ollama": {"base_url": server.address}}
        job = daemon.run(score_of(daemon.home, backend, bridge={"enabled": True, **tools()}))
        wait_until(server.hanging.is_set)
        pid = daemon.job(job)["sheets"][0]["attempts"][0]["agent_pid"]
        began = time.monotonic()
        if number is None:
            assert daemon.mozart("cancel", job).returncode == 0
            assert daemon.wait(job)["state"] == "cancelled"
            assert time.monotonic() - began < 5
        else:
            os.kill(pid, number)
            assert daemon.wait(job)["state"] == "failed"
    left = [name for name in os.listdir("/proc") if name.isdigit() and "mcp_server.py" in words_of(name)]
    assert not left


def words_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_a_daemon_asks_recursive_light(shared_daemon: Daemon) -> None:
    with serving(("say", "so be it")) as server:
        backend = {"type": "recursive_light", "recursive_light": {"endpoint": server.address}}
        job = shared_daemon.run(score_of(shared_daemon.home, backend))
        assert shared_daemon.wait(job)["state"] == "completed", shared_daemon.job(job)
    assert server.headers[0]["X-Mozart-User-ID"] == server.questions[0]["user_id"]
