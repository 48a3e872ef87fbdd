"""A job that meets secrets wherever it can: none may be found in what Mozart keeps, says or shows to `ps`."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from ipc.messages import Finished
from ipc.segments import UNMASKED
from tests.process.daemon import Daemon, processes_of, wait_until, write_score
from workers.mask import Mask
from workers.report import Facts, finished, masked

#: Put together here, so that no scanner takes this file for a leak. A known format, and a value that only its name gives away.
TOKEN = "ghp" + "_" + "abcdefghijKLMNOPQRST0123456789uvwxyz"[:36]
VALUE = "correct-horse-battery-staple-42"

AGENT = """#!/bin/sh
# What it got, in pieces too; then it fails with a secret in its words.
cat "$1" > got
printf 'here is %s, and ' "$SERVICE_API_KEY"
cat token
for part in correct- horse- battery- staple- 42; do printf '%s' "$part"; done
echo
cat got
cp token out.txt
echo "cannot log in with $SERVICE_API_KEY" >&2
exit $(test -e failed && echo 0 || echo 1)
"""


def test_no_secret_is_kept_said_or_shown(home: Path, tmp_path: Path) -> None:
    daemon = Daemon(home)
    daemon.environment["SERVICE_API_KEY"] = VALUE
    try:
        daemon.start()
        agent, workspace = tmp_path / "agent", tmp_path / "workspace"
        workspace.mkdir()
        agent.write_text(AGENT)
        agent.chmod(0o755)
        (workspace / "token").write_text(TOKEN)
        (tmp_path / "notes.md").write_text(f"the key is {VALUE}, the token {TOKEN}\n")
        score = write_score(
            tmp_path,
            "x",
            backend={"command": [str(agent), "{prompt_file}"], "working_directory": str(workspace)},
            # By a name that only rendering knows: what is named outright travels with the submission, as the score does.
            prompt={"template": "{% include notes %}", "variables": {"notes": "notes.md"}},
            validations=[
                {
                    "type": "command_succeeds",
                    "command": 'touch failed; cat token; echo "it is $SERVICE_API_KEY"; exit 3',
                },
                {"type": "content_contains", "path": "token", "pattern": "nothing of that kind"},
            ],
            cross_sheet={"auto_capture_stdout": True, "capture_files": ["out.txt"]},
            retry={"max_retries": 1, "max_completion_attempts": 0},
        )
        job = daemon.run(score)
        assert daemon.wait(job)["state"] == "failed"
        assert VALUE in (workspace / "got").read_text(), "the agent itself is told everything"
        log = (home / "logs" / job / "1.1.log").read_text()
        assert "here is [masked:secret], and [masked:github]" in log
        shown = [daemon.mozart("events", "--json", "--job", job).stdout, json.dumps(daemon.job(job))]
        shown += [daemon.mozart(*words).stdout for words in (("prompt", job), ("logs", job), ("status", job))]
        assert "[masked:" in shown[1]
        places = {f"shown {n}": text.encode() for n, text in enumerate(shown)}
        places |= {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}
        for pid in processes_of(home):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                places[f"the command line of {pid}"] = file.read()
        for secret in (TOKEN, VALUE):
            assert not [place for place, text in places.items() if secret.encode() in text]
        assert not list((home / "logs" / job).glob(f"*{UNMASKED}"))
    finally:
        daemon.stop()
        daemon.remove()


def test_a_prompt_with_secrets_does_not_outlive_its_killed_worker(daemon: Daemon, tmp_path: Path) -> None:
    waiting = ["sh", "-c", "exec sleep 60", "{prompt_file}"]
    score = write_score(tmp_path, TOKEN, backend={"command": waiting})
    job = daemon.run(score)
    whole = daemon.home / "logs" / job / f"1.1{UNMASKED}"
    wait_until(lambda: daemon.job(job)["sheets"][0]["attempts"][0]["agent_pid"])
    assert TOKEN in whole.read_text()
    os.kill(daemon.job(job)["sheets"][0]["attempts"][0]["worker_pid"], signal.SIGKILL)
    wait_until(lambda: len(daemon.job(job)["sheets"][0]["attempts"]) == 2)
    daemon.request("cancel", job=job)
    daemon.wait(job)
    daemon.request("gc")
    assert not list(whole.parent.glob(f"*{UNMASKED}"))


def test_a_report_is_masked_but_for_its_names() -> None:
    report = finished(Facts(f"job:{VALUE}", note=VALUE, captured={"a": f"x {TOKEN}", "\udcff": "\ud800"}), 0.0)
    told: Finished = masked(report, Mask((), [VALUE]))
    assert told["attempt"] == f"job:{VALUE}"
    assert told["message"] == "[masked:secret]"
    assert told["captured"] == {"a": "x [masked:github]", "\udcff": "\ud800"}
