"""What people get wrong, through the real command: exit 2 with file, line and column, what is wrong and how to mend it.

And what merely looks wrong: odd names, many sheets, relative paths do the sensible thing.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ipc.frames import FrameDecoder, encode_frame
from tests.process.daemon import Daemon

Score = Callable[..., Path]

GOOD = """\
name: song
workspace: ./workspace
pause_between_sheets_seconds: 0
backend: {type: command, command: ["true"]}
sheet: {size: 1, total_items: 2}
prompt:
  template: play {{ sheet_num }}
"""

#: What is wrong → (the text to replace, by what, what the message must name).
MISTAKES: dict[str, tuple[str, str, list[str]]] = {
    "a wrong key": ("prompt:", "promt:", ["song.yaml:6:1", "promt", "prompt"]),
    "a wrong key inside": ("total_items: 2", "total_item: 2", ["song.yaml:5:", "total_item", "total_items"]),
    "a wrong type": ("total_items: 2", "total_items: many", ["song.yaml:5:", "total_items", "many"]),
    "no sheets": ("total_items: 2", "total_items: 0", ["song.yaml:5:", "total_items", "0"]),
    "no name": ("name: song\n", "", ["song.yaml", "name"]),
    "a cycle": ("total_items: 2", "total_items: 2, dependencies: {1: [2], 2: [1]}", ["song.yaml:5:", "1", "2"]),
    "a dependency on nothing": ("total_items: 2", "total_items: 2, dependencies: {2: [7]}", ["song.yaml:5:", "7"]),
    "an undefined variable": ("{{ sheet_num }}", "{{ sheet_nun }}", ["song.yaml:7:", "sheet_nun", "sheet_num"]),
    "a template that does not end": ("{{ sheet_num }}", "{% if stage %}", ["song.yaml:7:"]),
    "a template file that is not there": (
        "template: play {{ sheet_num }}",
        "template_file: no.md",
        ["song.yaml:7:", "no.md"],
    ),
    "a bad regex": (
        "prompt:",
        "validations: [{type: content_regex, path: a, pattern: '('}]\nprompt:",
        ["song.yaml:6:"],
    ),
    "a bad expression": ("total_items: 2", 'total_items: 2, skip_when: {1: "stage ="}', ["song.yaml:5:", "stage ="]),
    "a key given twice": ("prompt:", "name: other\nprompt:", ["song.yaml:6:1", "name"]),
    "no YAML": ("sheet: {size", "sheet: {{{size", ["song.yaml:"]),
    "a tab": ("  template", "\ttemplate", ["song.yaml:7:1"]),
    "a list": (GOOD, "- one\n- two\n", ["song.yaml:1:1"]),
    "a word": (GOOD, "hello", ["song.yaml:1:1", "text"]),
    "nothing": (GOOD, "", ["song.yaml"]),
    "something not built yet": ("prompt:", "isolation: {enabled: true}\nprompt:", ["isolation", "not available yet"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_place(cold: Daemon, tmp_path: Path, mistake: str) -> None:
    wrong, by, names = MISTAKES[mistake]
    assert wrong in GOOD
    path = tmp_path / "song.yaml"
    path.write_text(GOOD.replace(wrong, by, 1))
    done = cold.mozart("run", path, "--no-start")
    assert done.returncode == 2, done.stderr
    assert not [name for name in names if name not in done.stderr], done.stderr
    assert "Traceback" not in done.stderr
    assert "hint: " in done.stderr, "and how to mend it"


def bomb() -> str:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(levels)


@pytest.mark.parametrize(
    "content",
    [
        GOOD + "# " + "x" * 10_000_000,
        "name: " + "x" * 10_000_000,
        bomb(),
        "[" * 100_000,
        "a: " * 5000,
        "\0\1\2",
        "\ufeff",
    ],
    ids=["10 MB", "a long name", "an alias bomb", "deep", "odd", "binary", "a mark"],
)
def test_a_hostile_file_is_refused_soon(cold: Daemon, tmp_path: Path, content: str) -> None:
    path = tmp_path / "song.yaml"
    path.write_text(content)
    done = cold.mozart("run", path, "--no-start", timeout=10)
    assert done.returncode == 2, done.stderr
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 2000


@pytest.mark.parametrize("kind", ["missing", "directory", "latin-1", "fifo"])
def test_what_is_no_readable_file_is_refused(cold: Daemon, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "song.yaml"
    if kind == "directory":
        path.mkdir()
    elif kind == "latin-1":
        path.write_bytes(b"name: M\xfcller\n")
    elif kind == "fifo":
        os.mkfifo(path)
    done = cold.mozart("run", path, "--no-start", timeout=10)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("mozart: cannot ")
    assert str(path) in done.stderr


@pytest.mark.parametrize(
    ("workspace", "names"),
    [("a-file", ["a-file"]), ("/proc/nobody/may", ["/proc/nobody/may"])],
    ids=["is a file", "cannot be made"],
)
def test_a_workspace_that_cannot_be_is_said(
    shared_daemon: Daemon, tmp_path: Path, workspace: str, names: list[str]
) -> None:
    (tmp_path / "a-file").touch()
    path = tmp_path / "song.yaml"
    path.write_text(GOOD.replace("./workspace", workspace))
    done = shared_daemon.mozart("run", path)
    assert done.returncode in (1, 2)
    assert not [name for name in names if name not in done.stderr + done.stdout], done.stderr


def test_relative_paths_begin_at_the_score(shared_daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "song.yaml").write_text(GOOD)
    done = shared_daemon.mozart("run", "scores/song.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scores" / "workspace").is_dir()


@pytest.mark.parametrize("name", ["a/b/../../etc", "🎻 Quartett", "..", "x" * 200, "-rf", "  spaces  "])
def test_any_name_runs(shared_daemon: Daemon, score: Score, tmp_path: Path, name: str) -> None:
    path = score("say played")
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "name": name}, ensure_ascii=False))
    job = shared_daemon.run(path)
    assert "/" not in job
    assert shared_daemon.wait(job)["name"] == name
    assert shared_daemon.mozart("logs", job, "--raw").stdout == "played\n"


def test_a_missing_program_is_said_before_any_retry(shared_daemon: Daemon, score: Score) -> None:
    job = shared_daemon.run(score("say never", backend={"command": ["no-such-program", "x"]}))
    assert shared_daemon.wait(job)["state"] == "failed"
    (sheet,) = shared_daemon.job(job)["sheets"]
    (attempt,) = sheet["attempts"]
    assert attempt["code"] == "E505"
    assert "no-such-program" in attempt["message"]
    assert attempt["hint"]


def test_fifty_thousand_sheets(shared_daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "song.yaml"
    path.write_text(GOOD.replace("total_items: 2", "total_items: 50000"))
    job = shared_daemon.run(path)
    shared_daemon.wait_for(job, "sheet.completed", 3)
    assert shared_daemon.mozart("list", "--json", timeout=5).returncode == 0, "the daemon answers meanwhile"
    assert shared_daemon.mozart("cancel", job).returncode == 0
    assert shared_daemon.job(job)["job"]["state"] == "cancelled"


# ---- the daemon's own ends ----------------------------------------------------------------------------------------


@contextmanager
def listening(path: Path, answer: dict[str, Any]) -> Iterator[None]:
    """Something that answers the first hello with `answer`."""

    def serve() -> None:
        peer, _ = server.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(encode_frame(answer))
            peer.recv(65536)

    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def test_a_daemon_of_another_version_gets_a_sentence(cold: Daemon) -> None:
    hello = {"type": "hello", "protocol": 99, "version": "9.9.9", "role": "coordinator", "pid": 1}
    with listening(Path(cold.socket), hello):
        done = cold.mozart("list")
    os.unlink(cold.socket)
    assert done.returncode == 4
    assert "9.9.9" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_option_with_another_value_than_it_may_have_is_said_in_plain_words(cold: Daemon) -> None:
    done = cold.mozart("logs", "song", "--stream", "stdlog")
    assert done.returncode == 2
    assert "invalid value for '--stream': 'stdlog' is not one of 'stdout', 'stderr'" in done.stderr


def test_a_client_of_another_version_gets_a_sentence(shared_daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(shared_daemon.socket)
        peer.sendall(encode_frame({"type": "hello", "protocol": 99, "version": "9.9.9", "role": "client", "pid": 1}))
        decoder = FrameDecoder()
        frames: list[dict[str, Any]] = []
        while data := peer.recv(65536):
            frames += decoder.feed(data)
    assert "99" in frames[-1]["error"]["message"]


def test_a_socket_that_is_a_symlink_is_refused(cold: Daemon, tmp_path: Path) -> None:
    Path(cold.socket).parent.mkdir(mode=0o700)
    os.symlink(tmp_path / "elsewhere", cold.socket)
    done = cold.mozart("list")
    assert done.returncode == 4
    assert "symlink" in done.stderr
    done = cold.mozartd("start")
    assert done.returncode != 0
    assert "symlink" in done.stderr
    os.unlink(cold.socket)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("directory", ["state", "run"])
def test_a_directory_of_somebody_else_is_refused(cold: Daemon, directory: str) -> None:
    place = cold.home / directory
    place.mkdir(mode=0o700)
    os.chown(place, 65534, 65534)
    done = cold.mozartd("start")
    assert done.returncode == 2, done.stderr
    assert "65534" in done.stderr


def test_a_second_daemon_says_who_is_there(shared_daemon: Daemon) -> None:
    done = shared_daemon.mozartd("start")
    assert "Traceback" not in done.stderr
    assert str(shared_daemon.pid("supervisor")) in done.stdout + done.stderr
