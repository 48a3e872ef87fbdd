"""Other members of the kinds: ways of a value into code that nobody thought of at first, and what is an option to a program."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipc.errors import MozartError
from tests.faults.test_score import Score, codes, validate
from tests.process.daemon import Daemon

RUN = [
    'alias run="sh -c"\nrun {v}',
    "x={v}; echo `eval echo $x`",
    'x={v}; echo `sh -c "$x"`',
    "x={v}; echo $((x))",
    "x={v}; y=abc; echo ${y:$x}",
    "x={v}; echo ${x@P}",
    "x={v}; echo ${!x}",
    "typeset -i x; x={v}",
    "bash -c 'echo $(($1))' bash {v}",
    "bash -c '(( $1 ))' bash {v}",
    "bash -c 'x=$1; echo $((x))' bash {v}",
    "bash -c 'x=(1 2); echo ${x[$1]}' bash {v}",
    "bash -c 'x=$1; [[ x -eq 0 ]]' bash {v}",
    "bash -c ': ${x:=$1}; $x' bash {v}",
    "bash -c '. <(echo \"$1\")' bash {v}",
    "sh -c '$0' {v}",
    "export X={v}; bash -c 'echo $((X))'",
    "printf %s {v} | sed -f -",
    "printf %s {v} | awk -f /dev/stdin",
    "printf %s {v} | bash /dev/stdin",
    "printf %s {v} | python3 /dev/fd/0",
    "printf %s {v} | sh -c '. /dev/stdin'",
    'printf %s {v} | bash -c "$(cat)"',
    "printf %s {v} | { $(cat); }",
    "printf %s {v} > s.sh; sh s.sh",
    "cat > s.sh <<E\n{v}\nE\n. ./s.sh",
    "printf %s {v} | tee s.sh; sh ./s.sh",
    "git -c {v} status",
    "git config alias.x {v}",
    "git bisect run {v}",
    "split --filter={v} f",
    "tar -I {v} -cf x y",
    "rsync -e {v} a b:",
    "npx {v}",
    "docker exec -it c {v}",
    "julia -e {v}",
    "crontab {v}",
    "export PATH={v}; ls",
    "RUSTC_WRAPPER={v} cargo build",
    "MANPAGER={v} man ls",
]


@pytest.mark.parametrize("script", RUN)
def test_A03_nor_by_another_way(script: str) -> None:
    from ipc.score.shell import compose

    with pytest.raises(MozartError, match=r"^cannot pass \{v\} to a command: "):
        compose(script, {"v": "x"}, ["v"])


TAKEN = [
    "i=0; while [ $i -lt 3 ]; do i=$((i+1)); done; grep -q {v} f",
    "n=$(wc -l <f); test $((n+1)) -gt 1 && echo {v}",
    "$(which python3) tool.py {v}",
    'cd "$(git rev-parse --show-toplevel)" && ./check {v}',
    "echo `date` {v}",
    "bash -c 'echo \"${1:0:10}\"' bash {v}",
    "printf %s {v} > note.txt; wc -c note.txt",
    "npx prettier --check {v}",
    "docker run image tool {v}",
    "pytest -k {v}",
    "jq -e {v} f.json",
]


@pytest.mark.parametrize("script", TAKEN)
def test_A03_what_only_looks_alike_is_taken(script: str) -> None:
    from ipc.score.shell import compose

    assert compose(script, {"v": "x  y"}, ["v"]).environment == {"MOZART_VALUE_V": "x  y"}


OPTIONS = [
    "grep {v} f",
    "grep -q {v} f",
    "grep '{v}' f",
    "sort {v}",
    "git grep {v}",
    "tar cf x y {v}",
    "timeout 5 rm {v}",
    "find {v} -name x",
    "find . -exec grep {v} \\;",
    "x={v}; rm $x",
    "sh -c 'rm \"$1\"' sh {v}",
    "printf {v}",
    "head -{v} f",
    "env A=1 git log {v}",
    "echo $(ls {v})",
]
WORDS = [
    "grep -- {v} f",
    "grep -e {v} f",
    "git commit -m {v}",
    "git log --format={v}",
    "echo {v}",
    "printf %s {v}",
    "[ {v} = x ]",
    "case {v} in x) :;; esac",
    "./check.sh {v}",
    "python3 tool.py {v}",
    "sh -c 'printf %s \"$1\"' sh {v}",
    "cat <<E\n{v}\nE",
    "x={v}; echo $x",
    "f() { echo $1; }; f {v}",
    "timeout 5 echo {v}",
    "x={v}; rm -- $x",
]


def test_A04_a_value_is_never_an_option() -> None:
    from ipc.score.shell import compose

    for script in OPTIONS:
        for value in ("--checkpoint-action=exec=x", "-f/etc/shadow", "--"):
            with pytest.raises(MozartError, match="begins with `-`") as raised:
                compose(script, {"v": value}, ["v"])
            assert raised.value.code == "E604"
            assert " -- " in raised.value.hint or "./" in raised.value.hint
        for value in ("word", "- a list\n- of two", "---\nfront: matter"):
            assert compose(script, {"v": value}, ["v"]).environment, script
    for script in WORDS:
        assert compose(script, {"v": "--flag"}, ["v"]).environment, script


PROFILE = """
name: teller
command:
  argv: [sh, "{script}"]
  prompt: stdin
  system_prompt: ["{{system_prompt_file}}"]
"""


def test_A09_a_system_prompt_goes_through_a_copy_of_ours(shared_daemon: Daemon, score: Score, tmp_path: Path) -> None:
    """Nobody else reads it, what was submitted is what the agent gets, and it does not outlive the agent."""
    system, script = tmp_path / "system.md", tmp_path / "tell.sh"
    system.write_text("a secret way")
    system.chmod(0o644)
    script.write_text(f'stat -c "%a %n" "$1"; cat "$1"; echo; echo another >{system}\n')
    profiles = tmp_path / ".mozart" / "backends"
    profiles.mkdir(parents=True)
    (profiles / "teller.yaml").write_text(PROFILE.format(script=script))
    path = score("a", "b", backend={"type": "teller", "command": None, "system_prompt_file": "system.md"})
    job = shared_daemon.run(path)
    assert shared_daemon.wait(job)["state"] == "completed"
    logs = shared_daemon.home / "logs" / job
    said = shared_daemon.mozart("logs", job, "--raw").stdout.splitlines()
    assert said == [word for n in (1, 2) for word in (f"600 {logs}/{n}.1.system", "a secret way")]
    assert not list(logs.glob("*.system"))


def test_A09_prompts_in_arguments_are_told(cold: Daemon, score: Score, tmp_path: Path) -> None:
    profiles = tmp_path / ".mozart" / "backends"
    profiles.mkdir(parents=True)
    argv = 'argv: [sh, -c, \'cat "$1"\', sh, "{prompt}"], prompt: argument'
    (profiles / "shown.yaml").write_text(f"name: shown\ncommand: {{{argv}}}\n")
    seen = [
        {"type": "shown", "command": None},
        {"command": "claude -p {prompt}"},
        {"command": "x=$(timeout 5 claude -p '{prompt}')"},
        {"command": ["claude", "-p", "{prompt}"]},
    ]
    hidden = ["printf %s {prompt} | claude -p", "claude -p <<E\n{prompt}\nE", "claude -p '{prompt_file}'"]
    for backend in seen:
        assert "V227" in codes(validate(cold, score("x", backend=backend))[1], "warning"), backend
    for command in hidden:
        assert "V227" not in codes(validate(cold, score("x", backend={"command": command}))[1], "warning"), command


def test_A04_a_value_like_an_option_fails_its_rule(shared_daemon: Daemon, score: Score, tmp_path: Path) -> None:
    """In the words of the sheet's failure, and said beforehand."""
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "f").write_text("x\n")
    rules = [{"type": "command_succeeds", "command": "grep -c {word} f"}]
    path = score("a", validations=rules, retry={"max_retries": 1, "max_completion_attempts": 0})
    assert "V229" in codes(validate(shared_daemon, path, "--var", "word=x")[1], "warning")
    job = shared_daemon.run(path, "--var", "word=-vf/etc/passwd")
    assert shared_daemon.wait(job)["state"] == "failed"
    assert "begins with `-` and would be an option of `grep`" in shared_daemon.mozart("status", job, "--json").stdout
    rules[0]["command"] = "grep -c -- {word} f"
    path = score("a", validations=rules)
    assert "V229" not in codes(validate(shared_daemon, path, "--var", "word=x")[1], "warning")
