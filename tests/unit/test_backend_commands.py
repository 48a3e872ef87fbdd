"""How each backend calls its program: arguments, stdin and environment, from the options of a score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import backends
from backends.base import Command, Run, Usage
from ipc.score.shell import fill_backend

SESSION = "3f0e1c1e-0000-4000-8000-000000000001"


def run_of(options: dict[str, Any] | None = None, **others: Any) -> Run:
    given: dict[str, Any] = {
        "prompt": "do it",
        "prompt_file": "/state/p.txt",
        "workspace": "/w s",
        "directory": "/d",
        "environment": {},
        "session_id": SESSION,
        "fill": fill_backend,
    }
    return Run(options or {}, **(given | others))


def command(name: str, options: dict[str, Any] | None = None, **others: Any) -> Command:
    return backends.load(name).command(run_of(options, **others))


def line(name: str, options: dict[str, Any] | None = None, **others: Any) -> str:
    return " ".join(command(name, options, **others).argv)


def refusal(name: str, options: dict[str, Any] | None = None, **others: Any) -> str:
    with pytest.raises(ValueError, match=r"^cannot ") as raised:
        command(name, options, **others)
    return str(raised.value)


# ---- command --------------------------------------------------------------------------------------------------------


def test_the_prompt_goes_to_stdin() -> None:
    made = command("command", {"command": ["cat", "-n"]})
    assert (list(made.argv), made.stdin) == (["cat", "-n"], b"do it")


@pytest.mark.parametrize("word", ["{prompt}", "{prompt_file}", "--in={prompt_file}"])
def test_a_prompt_in_the_arguments_leaves_stdin_empty(word: str) -> None:
    assert command("command", {"command": ["x", word]}).stdin is None


def test_arguments_are_filled_as_they_are() -> None:
    argv = command(
        "command", {"command": ["x", "{prompt}", "{workspace}/a", "{prompt_file}", "{model}"], "cli_model": "m"}
    ).argv
    assert list(argv) == ["x", "do it", "/w s/a", "/state/p.txt", "m"]


def test_a_shell_string_is_filled_quoted() -> None:
    made = command("command", {"command": "echo {prompt} > {workspace}/a"}, prompt="it's $(rm -rf x)")
    assert list(made.argv) == ["/bin/sh", "-c", "echo \"${MOZART_VALUE_PROMPT}\" > '/w s'/a"]
    assert made.environment == {"MOZART_VALUE_PROMPT": "it's $(rm -rf x)"}


def test_other_braces_are_the_shells() -> None:
    assert line("command", {"command": "awk '{print $1}' ${HOME}/{a,b} {prompts}"}).endswith(
        "awk '{print $1}' ${HOME}/{a,b} {prompts}"
    )


def test_a_filled_value_is_not_filled_again() -> None:
    assert list(command("command", {"command": ["x", "{prompt}"]}, prompt="{workspace}").argv) == ["x", "{workspace}"]


def test_extra_arguments_come_last() -> None:
    assert line("command", {"command": ["x"], "cli_extra_args": ["-a", "b"]}) == "x -a b"
    assert list(command("command", {"command": 'echo "$1"', "cli_extra_args": ["b"]}).argv)[3:] == ["sh", "b"]


def test_too_long_an_argument_says_what_to_do() -> None:
    assert "{prompt_file}" in refusal("command", {"command": ["x", "{prompt}"]}, prompt="x" * 131_072)
    assert "{prompt_file}" in refusal("command", {"command": "x {prompt}"}, prompt="x" * 131_072)
    assert command("command", {"command": ["x", "{prompt}"]}, prompt="x" * 131_071).argv
    assert command("command", {"command": ["x"]}, prompt="x" * 10_000_000).stdin


def test_a_nul_byte_cannot_be_an_argument() -> None:
    assert "{prompt_file}" in refusal("command", {"command": ["x", "{prompt}"]}, prompt="a\0b")


@pytest.mark.parametrize("given", [None, "", [], [""]])
def test_no_command(given: Any) -> None:
    assert refusal("command", {"command": given}) == "cannot run a command: backend.command is empty"


def test_a_wrong_pattern_of_a_limit() -> None:
    assert "rate_limit.detection_patterns" in refusal("command", {"command": ["x"], "rate_limit_patterns": ["("]})


# ---- claude ---------------------------------------------------------------------------------------------------------


def test_claude() -> None:
    made = command("claude_cli")
    assert " ".join(made.argv) == (
        "claude -p --output-format stream-json --verbose --include-partial-messages "
        f"--session-id {SESSION} --permission-mode bypassPermissions --strict-mcp-config"
    )
    assert made.stdin == b"do it"
    assert made.spool
    assert dict(made.environment) == {"CLAUDE_CODE_MAX_RETRIES": "2", "DISABLE_AUTOUPDATER": "1"}


def test_claude_as_root_is_told_that_it_may() -> None:
    assert command("claude_cli", is_root=True).environment["IS_SANDBOX"] == "1"
    assert "IS_SANDBOX" not in command("claude_cli", {"skip_permissions": False}, is_root=True).environment


def test_what_the_score_sets_in_the_environment_stays() -> None:
    made = command("claude_cli", environment={"CLAUDE_CODE_MAX_RETRIES": "9"})
    assert "CLAUDE_CODE_MAX_RETRIES" not in made.environment


def test_claude_options() -> None:
    made = line("claude_cli", {"cli_model": "opus", "disable_mcp": False, "cli_extra_args": ["--max-turns", "3"]})
    assert "--model opus" in made
    assert "--strict-mcp-config" not in made
    assert made.endswith("--max-turns 3")


@pytest.mark.parametrize("form", ["text", "json"])
def test_claude_in_an_old_scores_format(form: str) -> None:
    made = line("claude_cli", {"output_format": form})
    assert f"--output-format {form}" in made
    assert "--verbose" not in made


def test_claude_resumes() -> None:
    assert "--resume abc" in line("claude_cli", resume="abc")
    assert "--session-id" not in line("claude_cli", resume="abc")
    assert "--session-id" not in line("claude_cli", {"cli_extra_args": ["--continue"]})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"allowed_tools": ["Bash", "Edit"]},
            "--tools Bash,Edit --allowedTools Bash,Edit --permission-mode bypassPermissions",
        ),
        # A rule narrower than its tool would mean nothing under the bypass.
        (
            {"allowed_tools": ["Bash(git:*)", "Edit"]},
            "--tools Bash,Edit --allowedTools Bash(git:*),Edit --permission-mode dontAsk",
        ),
        ({"allowed_tools": []}, "--tools  --permission-mode bypassPermissions"),
        ({"allowed_tools": ["Bash"], "skip_permissions": False}, "--tools Bash --allowedTools Bash --strict"),
        (
            {"allowed_tools": ["mcp__a__b"], "disable_mcp": False},
            "--tools  --allowedTools mcp__a__b --permission-mode dontAsk",
        ),
    ],
)
def test_claude_may_use_what_is_allowed_and_no_more(options: dict[str, Any], words: str) -> None:
    assert words in line("claude_cli", options)


def test_without_permission_to_skip_claude_is_not_told_to() -> None:
    assert "permission" not in line("claude_cli", {"skip_permissions": False})


@pytest.mark.parametrize("prompt", ["/compact this", "  /x", "\n/x"])
def test_a_leading_slash_is_no_command(prompt: str) -> None:
    stdin = command("claude_cli", prompt=prompt).stdin
    assert stdin == b"\n" + prompt.encode()


def test_claude_system_prompt() -> None:
    for text in ("you are", "x" * 130_000):
        made = line("claude_cli", {"system_prompt_file": "/s.md"}, system_prompt=text)
        assert "--system-prompt-file /s.md" in made
        assert text not in made


@pytest.mark.parametrize("name", ["claude_cli", "codex_cli", "gemini_cli", "opencode_cli"])
def test_an_empty_prompt_is_refused_before_it_starts(name: str) -> None:
    assert "empty prompt" in refusal(name, prompt=" \n")


@pytest.mark.parametrize(
    ("name", "prompt"),
    [("claude_cli", "x" * 10_000_001), ("codex_cli", "x" * 1_048_577), ("gemini_cli", "x" * ((8 << 20) + 1))],
)
def test_a_prompt_it_would_refuse_is_refused_before_it_starts(name: str, prompt: str) -> None:
    assert "it takes" in refusal(name, prompt=prompt)


# ---- the others -----------------------------------------------------------------------------------------------------


def test_codex() -> None:
    made = command("codex_cli", {"cli_model": "gpt-5.5"})
    assert " ".join(made.argv) == (
        'codex exec --skip-git-repo-check --json -m gpt-5.5 -c sandbox_mode="danger-full-access" -'
    )
    assert made.stdin == b"do it"
    assert not made.spool


def test_codex_resumes_by_its_own_subcommand() -> None:
    assert line("codex_cli", resume="abc").startswith("codex exec resume --skip-git-repo-check")
    assert line("codex_cli", resume="abc").endswith("abc -")


def test_codex_in_its_sandbox_may_write_the_workspace() -> None:
    made = line("codex_cli", {"skip_permissions": False})
    assert 'sandbox_mode="workspace-write"' in made
    assert 'sandbox_workspace_write.writable_roots=["/w s"]' in made


def test_codex_system_prompt_is_toml() -> None:
    assert 'developer_instructions="say \\"é\\"\\n"' in line("codex_cli", system_prompt='say "é"\n')


def test_codex_servers_are_switched_off_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        'model = "x"\n[mcp_servers.one]\ncommand = "a"\n[mcp_servers."t w o"]\ncommand = "b"\n'
    )
    environment = {"CODEX_HOME": str(tmp_path)}
    assert "mcp_servers.one.enabled=false" in line("codex_cli", environment=environment)
    assert "mcp_servers" not in line("codex_cli", {"disable_mcp": False}, environment=environment)
    (tmp_path / "config.toml").write_text("not toml")
    assert "mcp_servers" not in line("codex_cli", environment=environment)


def test_codex_counts_a_thread_and_the_attempt_is_the_rest() -> None:
    used = Usage(input=120, output=25, cache_read=1000)
    parser = backends.load("codex_cli").parser(run_of(resume="abc", used=used))
    line = b'{"type":"turn.completed","usage":{"input_tokens":2240,"cached_input_tokens":2000,"output_tokens":50}}'
    assert parser.feed("stdout", line)[0] == Usage(input=120, output=25, cache_read=1000)


def test_gemini() -> None:
    made = command("gemini_cli", {"cli_model": "pro"})
    assert " ".join(made.argv) == (
        f"gemini -o stream-json -m pro --yolo --allowed-mcp-server-names none --session-id {SESSION}"
    )
    assert dict(made.environment) == {"GEMINI_CLI_NO_RELAUNCH": "true", "GEMINI_CLI_TRUST_WORKSPACE": "true"}
    assert made.spool
    assert "--resume abc" in line("gemini_cli", resume="abc")
    spoken = command("gemini_cli", {"system_prompt_file": "/s.md"}, system_prompt="x")
    assert spoken.environment["GEMINI_SYSTEM_MD"] == "/s.md"


def test_opencode() -> None:
    made = command("opencode_cli", {"cli_model": "p/m"})
    assert " ".join(made.argv) == "opencode run --print-logs --log-level INFO --format json -m p/m --auto"
    assert made.environment["OPENCODE_DISABLE_PROJECT_CONFIG"] == "1"
    assert "OPENCODE_DISABLE_PROJECT_CONFIG" not in command("opencode_cli", {"disable_mcp": False}).environment
    assert "-s abc" in line("opencode_cli", resume="abc")


def test_opencode_system_prompt_joins_the_users_configuration() -> None:
    given = {"OPENCODE_CONFIG_CONTENT": '{"provider":{"p":{}},"agent":{"build":{"model":"p/m"}}}'}
    made = command("opencode_cli", environment=given, system_prompt="be brief").environment["OPENCODE_CONFIG_CONTENT"]
    assert made == '{"provider": {"p": {}}, "agent": {"build": {"model": "p/m", "prompt": "be brief"}}}'
    assert "OPENCODE_CONFIG_CONTENT" in refusal(
        "opencode_cli", environment={"OPENCODE_CONFIG_CONTENT": "[]"}, system_prompt="x"
    )


@pytest.mark.parametrize("name", ["claude_cli", "codex_cli", "gemini_cli", "opencode_cli"])
def test_extra_arguments_are_last_for_everybody(name: str) -> None:
    assert line(name, {"cli_extra_args": ["--x", "y"]}).endswith("--x y")


def test_an_unknown_backend_names_the_known() -> None:
    with pytest.raises(ValueError, match=r"^cannot use the backend 'clude': known are anthropic_api, .*aider"):
        backends.load("clude")
