"""What a score says, and what is made of it: faults of reading, planning and handing over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.process.daemon import Daemon

Score = Callable[..., Path]


def validate(daemon: Daemon, score: Path, *more: str) -> tuple[int, list[dict[str, Any]]]:
    done = daemon.mozart("validate", score, "--json", *more)
    return done.returncode, json.loads(done.stdout)["problems"]


def codes(problems: list[dict[str, Any]], severity: str) -> list[str]:
    return [problem["code"] for problem in problems if problem["severity"] == severity]


HERE = "cat > seen.txt <<END\n{previous_outputs}\nEND"


def test_A03_values_never_become_shell_text(shared_daemon: Daemon, score: Score, tmp_path: Path) -> None:
    rules = [
        {"type": "command_succeeds", "command": HERE},
        {"type": "command_succeeds", "command": "test {word} = 'a b'"},
    ]
    path = score(
        "say fine $(touch PWNED) `touch PWNED` done", "say two", cross_sheet={"auto_capture_stdout": True},
        validations=rules, sheet={"skip_when_command": {"2": {"command": "printf %s {previous_outputs} > skip; false"}}},
    )  # fmt: skip
    job = shared_daemon.run(path, "--var", "word=a b")
    assert shared_daemon.wait(job)["state"] == "completed"
    workspace = tmp_path / "workspace"
    assert "fine $(touch PWNED) `touch PWNED` done" in (workspace / "seen.txt").read_text()
    assert "fine $(touch PWNED)" in (workspace / "skip").read_text()
    assert not list(tmp_path.rglob("PWNED"))


def test_A03_a_score_that_would_run_values_is_refused(cold: Daemon, score: Score) -> None:
    bad = ["sh -c 'echo {previous_outputs}'", "echo `echo {word}`", "eval x={word}"]
    path = score("say 1", validations=[{"type": "command_succeeds", "command": command} for command in bad])
    code, problems = validate(cold, path, "--var", "word=x")
    assert (code, codes(problems, "error")) == (1, ["V218"] * 3)
    done = cold.mozart("run", path, "--var", "word=x")
    assert done.returncode == 2
    assert "V218" in done.stderr
    good = score("say 1", validations=[{"type": "command_succeeds", "command": "python3 -c \"open('{workspace}/x')\""}])
    code, problems = validate(cold, good)
    assert (code, codes(problems, "warning")) == (0, ["V219"])


def test_A03_a_prompt_is_no_shell_text(shared_daemon: Daemon, score: Score, tmp_path: Path) -> None:
    """Neither in a text for a shell, nor in a list whose program is one."""
    prompt = {"template": 'it\'s $(touch PWNED) "q"'}
    for command in (
        "printf %s '{prompt}'",
        ["sh", "-c", "printf %s {prompt}"],
        ["env", "sh", "-c", 'printf %s "{prompt}"'],
    ):
        path = score("x", backend={"type": "command", "command": command}, prompt=prompt)
        job = shared_daemon.run(path)
        shared_daemon.wait(job)
        assert 'it\'s $(touch PWNED) "q"' in shared_daemon.mozart("logs", job, "--raw").stdout
    path = score("x", backend={"type": "command", "command": ["python3", "-c", "print('{prompt}')"]}, prompt=prompt)
    assert shared_daemon.mozart("run", path).returncode == 2
    assert not list(tmp_path.rglob("PWNED"))


def test_A03_what_is_too_long_for_a_command(shared_daemon: Daemon, score: Score) -> None:
    rule = {"type": "command_succeeds", "command": "test -n {word}"}
    job = shared_daemon.run(
        score("say 1", validations=[rule], retry={"max_retries": 0}), "--var", f"word={'x' * 70_000}"
    )
    assert shared_daemon.wait(job)["state"] == "failed"
    shown = shared_daemon.mozart("status", job, "--json").stdout
    assert "E604" in shown
    assert "70,000 bytes" in shown


SCRIPTS = [
    "sh -s",
    ["bash"],
    ["bash", "-s", "--", "x"],
    ["python3", "-"],
    ["python3"],
    "cd / && sh",
    ["env", "A=1", "bash", "{prompt_file}"],
    ["sh", "-c", "{prompt}"],
    "bash {prompt_file}",
    "cat {prompt_file} | sh",
    ". {prompt_file}",
    ["sh", "-c", "bash -e"],
    ["timeout", "5", "perl"],
    "sh < {prompt_file}",
    ["awk", "-f", "{prompt_file}"],
    "sh -c {prompt}",
]
TEXTS = [
    ["python3", "my_agent.py"],
    ["sh", "-c", "claude -p"],
    "claude -p",
    ["cat"],
    ["bash", "agent.sh", "{prompt_file}"],
    "python3 -m agent",
    ["python3", "-c", "print(1)"],
    "my-agent {prompt}",
    ["env", "A=1", "claude", "-p"],
    "ssh host claude -p",
    ["node", "agent.js"],
]


def test_A18_what_a_backend_takes_its_prompt_for() -> None:
    from ipc.score.scripts import takes_script

    assert [command for command in SCRIPTS if not takes_script({"type": "command", "command": command})] == []
    assert [command for command in TEXTS if takes_script({"type": "command", "command": command})] == []
    assert takes_script({"type": "bash"})
    assert not takes_script({"type": "claude_cli"})
    assert takes_script({"type": "command", "command": ["x"], "prompt_is": "script"})
    assert not takes_script({"type": "bash", "prompt_is": "text"})


def test_A18_nothing_of_ours_becomes_part_of_a_script(shared_daemon: Daemon, score: Score, tmp_path: Path) -> None:
    template = 'cat "$MOZART_NOTES" >> notes; stat -c %a "$MOZART_NOTES" >> modes; echo \'$(touch PWNED)\' > f; exit 0'
    rules = [{"type": "command_succeeds", "command": "cat f; false"}]
    prompt = {"template": template, "stakes": "touch PWNED"}
    for command in ("sh -s", ["sh", "-c", "{prompt}"], ["bash", "{prompt_file}"]):
        path = score(
            "x", backend={"type": "command", "command": command, "working_directory": str(tmp_path)}, prompt=prompt,
            validations=[{**rules[0], "command": "cat ../f; false"}], retry={"max_retries": 2, "max_completion_attempts": 0},
        )  # fmt: skip
        job = shared_daemon.run(path)
        shared_daemon.wait(job)
        sent = shared_daemon.mozart("logs", job, "--prompt").stdout
        assert "touch PWNED" not in sent.replace(template, "")
    assert "The last attempt at this task failed" in (tmp_path / "notes").read_text()
    assert set((tmp_path / "modes").read_text().split()) == {"600"}
    assert not list(tmp_path.rglob("PWNED"))


def test_A03_a_script_holds_nothing_from_outside(cold: Daemon, score: Score) -> None:
    backend = {"type": "command", "command": "sh -s"}
    path = score("x", "y", backend=backend, prompt={"template": "echo {{ word }}"})
    assert validate(cold, path, "--var", "word=main")[0] == 0
    code, problems = validate(cold, path, "--var", "word=$(touch PWNED)")
    assert (code, codes(problems, "error")) == (1, ["V218"])
    path = score("x", "y", backend=backend, prompt={"template": "echo {{ previous_outputs }}"})
    assert codes(validate(cold, path)[1], "error") == ["V218"]


def attempts(daemon: Daemon, job: str) -> list[tuple[int, int]]:
    """Sheet and attempt, as they began."""
    return [(event["sheet"], event["attempt"]) for event in daemon.events(job) if event["type"] == "sheet.running"]


def test_B12_sheets_play_in_order(shared_daemon: Daemon, score: Score) -> None:
    retry = {"max_retries": 2, "base_delay_seconds": 0.05}
    job = shared_daemon.run(score("exit 1", "say 2", "say 3", retry=retry))
    assert attempts(shared_daemon, job) == [(1, 1), (1, 2)]
    assert shared_daemon.wait(job)["state"] == "failed"
    states = {sheet["n"]: sheet["state"] for sheet in shared_daemon.job(job)["sheets"]}
    assert states == {1: "failed", 2: "blocked", 3: "blocked"}
    for more in ({"sheet": {"dependencies": {}}}, {"parallel": {"enabled": True, "fail_fast": False}}):
        job = shared_daemon.run(score("exit 1", "say 2", "say 3", retry=retry, **more))
        assert (2, 1) in attempts(shared_daemon, job)


def test_B12_a_plan_says_in_order(cold: Daemon, score: Score) -> None:
    path = score("say 1", "say 2")
    planned = json.loads(cold.mozart("plan", path, "--json").stdout)
    assert planned["in_order"]
    assert [sheet["dependencies"] for sheet in planned["sheets"]] == [[], []]
    assert "in order" in cold.mozart("plan", path).stdout
    assert "in order" not in cold.mozart("plan", score("say 1", "say 2", sheet={"dependencies": {}})).stdout


def test_B13_a_relative_path_is_looked_up_where_the_agent_runs(
    shared_daemon: Daemon, score: Score, tmp_path: Path
) -> None:
    (tmp_path / "proj").mkdir()
    rules: list[dict[str, Any]] = [
        {"type": "file_exists", "path": "src/a.py"}, {"type": "file_modified", "path": "src/a.py"},
        {"type": "content_contains", "path": "src/a.py", "pattern": "hello"},
        {"type": "content_regex", "path": "src/a.py", "pattern": "h.+o"},
        {"type": "command_succeeds", "command": "test -f a.py", "working_directory": "src"},
    ]  # fmt: skip
    backend = {"type": "command", "command": "mkdir -p src; echo hello > src/a.py", "working_directory": "./proj"}
    path = score("x", backend=backend, validations=rules)
    planned = json.loads(shared_daemon.mozart("plan", path, "--json").stdout)
    places = [str(tmp_path / "workspace/src/a.py"), str(tmp_path / "proj/src/a.py")]
    assert planned["rule_paths"][0] == {"rule": 0, "path": "src/a.py", "places": places}
    assert f"{places[0]}, then as {places[1]}" in shared_daemon.mozart("plan", path).stdout
    job = shared_daemon.run(path)
    assert shared_daemon.wait(job)["state"] == "completed"
    # Now it is there twice.
    (tmp_path / "workspace" / "src").mkdir()
    (tmp_path / "workspace" / "src" / "a.py").write_text("other")
    assert "V225" in codes(validate(shared_daemon, path)[1], "warning")
    job = shared_daemon.run(path)
    assert shared_daemon.wait(job)["state"] == "failed"


def test_B13_nothing_outside_of_both_is_looked_at(shared_daemon: Daemon, score: Score, tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    backend = {"type": "command", "command": "ln -sf /etc/passwd p; ln -sf /etc d", "working_directory": "./proj"}
    retry = {"max_retries": 0, "max_completion_attempts": 0}
    for rule in (
        {"type": "file_exists", "path": "p"},
        {"type": "content_contains", "path": "d/passwd", "pattern": "root"},
    ):
        job = shared_daemon.run(score("x", backend=backend, validations=[rule], retry=retry))
        assert shared_daemon.wait(job)["state"] == "failed"
        assert "E601" in shared_daemon.mozart("status", job, "--json").stdout


def test_A12_a_section_that_is_written_is_on_or_said_to_be_off(cold: Daemon, score: Score) -> None:
    path = score(
        "say 1", cost_limits={"warn_at_percent": 50}, parallel={"max_concurrent": 3}, isolation={"branch_prefix": "x"},
        ai_review={"min_score": 1}, bridge={"mcp_servers": []}, learning={"auto_apply": {"trust_threshold": 0.5}},
        cross_sheet={"max_output_chars": 5},
    )  # fmt: skip
    code, problems = validate(cold, path)
    off = {problem["field"] for problem in problems if problem["code"] == "V220"}
    assert off == {"parallel", "isolation", "ai_review", "bridge", "learning.auto_apply", "cross_sheet"}
    assert all(problem["line"] for problem in problems)
    assert "cost_limits has no limit" in [problem["message"] for problem in problems if problem["code"] == "V213"]
    assert code == 1, "it uses what is not built"
    assert "V220" in cold.mozart("plan", path).stderr
    limited = score("say 1", cost_limits={"max_cost_per_job": 5})
    assert codes(validate(cold, limited)[1], "error") == ["V213"]
    assert not codes(validate(cold, score("say 1", cost_limits={"max_cost_per_job": 5, "enabled": False}))[1], "error")


def test_A12_silence_is_noticed_when_that_is_written(shared_daemon: Daemon, score: Score) -> None:
    path = score("sleep 60", stale_detection={"idle_timeout_seconds": 0.2}, retry={"max_retries": 0})
    assert shared_daemon.wait(shared_daemon.run(path))["state"] == "failed"
    watching = {
        "feedback": {},
        "grounding": {"hooks": []},
        "checkpoints": {"triggers": []},
        "concert": {"max_chain_depth": 3},
    }
    done = shared_daemon.mozart("run", score("say 1", **watching))
    assert all(name in done.stderr for name in watching)


def test_A13_how_often_a_sheet_is_tried_is_said(cold: Daemon, score: Score) -> None:
    path = score("say 1", retry={"max_retries": 1})
    found = [problem for problem in validate(cold, path)[1] if problem["code"] == "V221"]
    assert "max_retries: 2" in found[0]["hint"]
    assert "up to 1 attempt a sheet" in cold.mozart("plan", path).stdout
    assert "up to 4 attempts a sheet" in cold.mozart("plan", score("say 1", retry={"max_retries": 4})).stdout
    assert "first" in cold.mozart("schema").stdout.partition('"max_retries"')[2][:400]


def prompted(daemon: Daemon, score: Path, *more: str) -> str:
    return str(json.loads(daemon.mozart("plan", score, "--prompts", "--json", *more).stdout)["sheets"][0]["prompt"])


TYPED = [
    ("commit", "0123456"),
    ("t", "12:30"),
    ("v", "1.10"),
    ("b", "on"),
    ("e", ""),
    ("title", "Fix a #b"),
    ("n", "1_000"),
    ("o", "0o17"),
    ("z", "~"),
]


def test_B03_a_variable_is_what_was_typed(cold: Daemon, score: Score) -> None:
    path = score("x", prompt={"template": "|".join(f"{{{{ {name} }}}}" for name, _ in TYPED)})
    given = [word for name, text in TYPED for word in ("--var", f"{name}={text}")]
    assert prompted(cold, path, *given) == "|".join(text for _, text in TYPED) + "\n"


@pytest.mark.timeout(240)
def test_B03_a_variable_has_the_type_of_its_default(cold: Daemon, score: Score) -> None:
    own = {"flag": False, "count": 3, "share": 0.5, "word": "a", "names": ["x"]}
    path = score("x", prompt={"template": "{{ [flag, count, share, word, names] }}", "variables": own})
    given = (
        "--var",
        "flag=on",
        "--var",
        "count=12",
        "--var",
        "share=1e-2",
        "--var",
        "word=12",
        "--var-json",
        'names=["y", 2]',
    )
    assert prompted(cold, path, *given) == "[True, 12, 0.01, '12', ['y', 2]]\n"
    for wrong in ("flag=maybe", "count=1.5", "count=010", "count=", "share=1_0", "names=[1]"):
        for verb in ("run", "plan", "validate"):
            done = cold.mozart(verb, path, "--var", wrong)
            assert (done.returncode, wrong.partition("=")[0] in done.stderr + done.stdout) == (2, True), (verb, wrong)
    for wrong in ("names=[", "names=NaN", "names=123456789012345678901", "names"):
        assert cold.mozart("plan", path, "--var-json", wrong).returncode == 2


def test_B03_values_of_two_readings_are_said(cold: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    lines = [
        "name: two",
        "sheet: {size: 1, total_items: 010}",
        "backend: {type: command, command: [cat]}",
        "prompt:",
        "  template: x",
        "  variables:",
    ]
    odd = {"a": "12:30", "b": "on", "c": "1_000", "d": "0o17", "e": "1e3", "f": "no", "g": "0b11"}
    plain = {"h": "10", "i": "1.5", "j": "true", "k": "'010'", "l": "0x1F", "m": "null", "n": "v1", "o": "-3", "p": "0"}
    path.write_text("\n".join([*lines, *(f"    {name}: {text}" for name, text in {**odd, **plain}.items())]))
    code, problems = validate(cold, path)
    found = [problem["message"].partition(" means")[0] for problem in problems if problem["code"] == "V224"]
    assert (code, found) == (0, ["010", *odd.values()])
    assert json.loads(cold.mozart("plan", path, "--json").stdout)["total_sheets"] == 8
    assert cold.mozart("plan", path, "--set", "sheet.total_items=010").returncode == 2


def ruled(**rule: Any) -> dict[str, Any]:
    return {"validations": [rule]}


def shelled(command: Any, **more: Any) -> dict[str, Any]:
    return {"backend": {"type": "command", "command": command, **more}}


WRONG = [
    ("V222", ruled(type="command_succeeds", command="test -d {workspce}"), "{workspace}"),
    ("V222", shelled(["cat", "{promptfile}"]), "{prompt_file}"),
    ("V222", shelled("cat {pormpt}"), "{prompt}"),
    ("V222", shelled(["cat", "{sheet_num}"]), "takes"),
    ("V210", shelled("./agnt.sh --fast"), "./agnt.sh"),
    ("V210", shelled("cd / && ./agnt.sh"), "./agnt.sh"),
    ("V210", shelled("no-such-thing -p"), "no-such-thing"),
]
NEVER = [
    ("E302", {"backend": {"type": "claude_cli", "command": None, "fallbacks": [{"type": "command"}]}}),
    ("V223", ruled(type="command_succeeds", command="echo 'it")),
    ("V223", shelled("if true; then echo")),
    ("V223", {"sheet": {"skip_when_command": {"1": {"command": "echo $(ls"}}}}),
    ("V201", ruled(type="file_exists", path="{workspace}/f{{ sheet_num }}.txt")),
    ("V101", ruled(type="file_exists", path="{workspce}/a")),
    ("unavailable", {"on_success": [{"type": "run_command", "command": "true"}]}),
]
RIGHT = [
    shelled("awk '{print}' {prompt_file} | grep -v '{end}' ${HOME}"),
    ruled(type="command_succeeds", command="awk '{print}' a; echo {a,b} ${workspace}"),
    ruled(type="command_succeeds", command="x=\"don't\"; cat <<E\nit's\nE"),
    shelled("cat && printf x"),
]


def test_B05_valid_means_that_run_takes_it(cold: Daemon, score: Score) -> None:
    for code, fields, words in WRONG:
        path = score("x", **{**fields, "backend": None}) if "backend" not in fields else score("x", **fields)
        found = [
            str(each) for each in validate(cold, path)[1] if each["code"] == code and each["severity"] == "warning"
        ]
        assert words in "".join(found), (code, fields)
    for code, fields in NEVER:
        path = score("x", **fields)
        status, problems = validate(cold, path)
        assert (status, code in codes(problems, "error")) == (1, True), (code, problems)
        assert cold.mozart("run", path).returncode == 2, fields
    for fields in RIGHT:
        found = codes(validate(cold, score("x", **fields))[1], "warning")
        assert not {"V222", "V223", "V210"} & set(found), (fields, found)


def test_B05_a_misspelt_variable_is_said(cold: Daemon, score: Score) -> None:
    path = score("x", prompt={"template": "{{ field }}", "variables": {"field": "a"}})
    done = cold.mozart("plan", path, "--var", "fiel=x")
    assert "nothing uses the variable 'fiel'" in done.stderr
    assert "did you mean --var field=…?" in done.stderr
    assert not cold.mozart("plan", path, "--var", "field=x").stderr.count("V226")


SAID = [
    ("template: 'a {{ x'", "`{{` is never closed", "}}"),
    ("template: '{{ 1 | uper }}'", "no filter 'uper'", "upper"),
    ("template: '{% fi %}'", "no tag {% fi %}", "{% endif %}"),
    ("template: '{{ item }}'", "undefined variable 'item'", "prompt.variables.item"),
    ("template: x\ntimeout_seconds: 5", "unknown key 'timeout_seconds'", "below one of backend"),
    ("template: x\nbudget: 5", "unknown key 'budget'", "known here"),
    ("template: x\nschedule: 5", "unknown key 'schedule'", "known here"),
    ("template: x\ngroup: no", "group must be text, found no", 'quote it: "no"'),
    ("template: x\ngroup: ''", "group must not be empty", ""),
    ('template: "\\d+"', "unknown escape", "single quotes"),
    ("template: x\n\tgroup: a", "is indented with a tab", "use spaces"),
    ("template: x\nworkspace: /etc/passwd", "/etc/passwd is not a directory", "choose another"),
    ("template: x\nprompt: {}", "duplicate key 'prompt' (first on line 4)", "remove one"),
]


def test_D08_a_hint_works_when_typed(cold: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    head = "name: a\nsheet: {size: 1, total_items: 1}\nbackend: {type: command, command: [cat]}\nprompt:\n  "
    for text, words, hint in SAID:
        path.write_text(head + text)
        problems = [each for each in validate(cold, path)[1] if each["severity"] == "error"]
        assert words in problems[0]["message"], (text, problems)
        assert hint in problems[0]["hint"], (text, problems)
    path.write_text(head.replace("total_items: 1", "total_items: twelve") + "template: x")
    assert "at least" not in str(validate(cold, path)[1])
    path.write_text(
        json.dumps(
            {"name": "a", "sheet": {"size": 1, "total_items": 1}, "prompt": {"template": "😀"}, **shelled(["cat"])}
        )
    )
    assert "\\ud83d\\ude00" in path.read_text()
    assert prompted(cold, path) == "😀\n"


def test_D14_keys_of_ones_own_and_unknown_ones(cold: Daemon, score: Score) -> None:
    path = score("say 1", **{"x-mine": {"a": 1}, "x-list": [1]})
    assert validate(cold, path)[0] == 0
    unknown = score("say 1", nonsense=1)
    assert cold.mozart("run", unknown, "--dry-run").returncode == 2
    done = cold.mozart("run", unknown, "--dry-run", "--lenient")
    assert done.returncode == 0
    assert "V108 warning" in done.stderr


def test_A09_prompts_are_not_for_everybody(cold: Daemon, score: Score, tmp_path: Path) -> None:
    from backends import load
    from backends.base import Run

    (tmp_path / "system.md").write_text("a secret way of working")
    options = {"system_prompt_file": str(tmp_path / "system.md")}
    run = Run(options, "p", "/p", "/w", "/d", {}, "0f0e", system_prompt="a secret way of working")
    assert "secret" not in " ".join(load("claude_cli").command(run).argv)
    for fields in (shelled(["cat", "{prompt}"]), {"backend": {"type": "codex_cli", "command": None, **options}}):
        assert "V227" in codes(validate(cold, score("x", **fields))[1], "warning")
    assert "V227" not in codes(validate(cold, score("x", **shelled("cat {prompt_file}")))[1], "warning")
