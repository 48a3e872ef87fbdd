"""Where things are, and what somebody else may have planted there."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from ipc.errors import EXIT_UNREACHABLE, EXIT_USAGE, MozartError
from ipc.paths import check_socket, find_paths, secure_directory

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give things away")


def test_mozart_home_holds_everything() -> None:
    paths = find_paths(
        {"MOZART_HOME": "/m", "XDG_STATE_HOME": "/no", "STATE_DIRECTORY": "/no", "RUNTIME_DIRECTORY": "/no"}
    )
    assert (paths.config, paths.state, paths.logs, paths.runtime) == ("/m/config.yaml", "/m/state", "/m/logs", "/m/run")
    assert paths.client_socket == "/m/run/mozartd.sock"
    assert paths.worker_socket == "/m/run/workers.sock"
    assert paths.database == "/m/state/mozart.db"
    assert paths.lock == "/m/state/lock"
    assert paths.attempt_log("job-1", 2, 3) == "/m/logs/job-1/2.3.log"
    assert paths.attempt_prompt("job-1", 2, 3) == "/m/logs/job-1/2.3.prompt"


def test_a_relative_home_is_made_absolute() -> None:
    assert find_paths({"MOZART_HOME": "m"}).state == os.path.join(os.getcwd(), "m/state")
    assert find_paths({"MOZART_HOME": "~/m"}).state == os.path.expanduser("~/m/state")


def test_systemds_directories_come_next() -> None:
    paths = find_paths(
        {"STATE_DIRECTORY": "/s:/t", "RUNTIME_DIRECTORY": "/r:/q", "CONFIGURATION_DIRECTORY": "/c:/d", "HOME": "/h"},
        1000,
    )
    assert (paths.config, paths.state, paths.logs, paths.runtime) == ("/c/config.yaml", "/s", "/s/logs", "/r")
    assert find_paths({"STATE_DIRECTORY": "/s", "RUNTIME_DIRECTORY": "/r"}, 1000).config == "/etc/mozart/config.yaml"


def test_root_has_the_systems_directories() -> None:
    paths = find_paths({"HOME": "/root"}, 0)
    assert (paths.config, paths.state) == ("/etc/mozart/config.yaml", "/var/lib/mozart")
    assert (paths.logs, paths.runtime) == ("/var/lib/mozart/logs", "/run/mozart")


def test_a_user_has_the_xdg_directories() -> None:
    paths = find_paths({"HOME": "/h"}, 1000)
    assert (paths.config, paths.state) == ("/h/.config/mozart/config.yaml", "/h/.local/state/mozart")
    assert (paths.logs, paths.runtime) == ("/h/.local/state/mozart/logs", "/h/.local/state/mozart/run")
    paths = find_paths({"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"}, 1000)
    assert (paths.config, paths.state, paths.runtime) == ("/c/mozart/config.yaml", "/s/mozart", "/r/mozart")


def test_mozart_socket_moves_the_clients_end_alone() -> None:
    paths = find_paths({"MOZART_HOME": "/m", "MOZART_SOCKET": "/elsewhere.sock"})
    assert paths.client_socket == "/elsewhere.sock"
    assert paths.worker_socket == "/m/run/workers.sock"


def test_the_environment_is_the_processs_when_none_is_given(tmp_path: Path) -> None:
    assert find_paths() == find_paths(os.environ, os.geteuid())


# ---- directories ------------------------------------------------------------------------------------------------


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_directory_is_made_for_us_alone(tmp_path: Path) -> None:
    secure_directory(str(tmp_path / "a" / "b"))
    assert mode_of(tmp_path / "a" / "b") == 0o700


def test_an_open_directory_is_closed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o755)
    secure_directory(str(tmp_path / "a"))
    assert mode_of(tmp_path / "a") == 0o700


def test_a_tighter_directory_stays_so(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o500)
    secure_directory(str(tmp_path / "a"))
    assert mode_of(tmp_path / "a") == 0o500


def refusal_of_directory(path: Path) -> str:
    with pytest.raises(MozartError) as caught:
        secure_directory(str(path))
    assert caught.value.exit_code == EXIT_USAGE
    assert str(path) in caught.value.message
    return caught.value.message


def test_a_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "a").symlink_to(tmp_path / "real")
    assert "not a directory" in refusal_of_directory(tmp_path / "a")


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    refusal_of_directory(tmp_path / "a")
    refusal_of_directory(tmp_path / "a" / "b")


@needs_root
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.chown(tmp_path / "a", NOBODY, NOBODY)
    assert f"uid {NOBODY}" in refusal_of_directory(tmp_path / "a")


# ---- sockets ----------------------------------------------------------------------------------------------------


def make_socket(path: Path, mode: int = 0o600) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    path.chmod(mode)


def refusal_of_socket(path: Path) -> str:
    with pytest.raises(MozartError) as caught:
        check_socket(str(path))
    assert caught.value.exit_code == EXIT_UNREACHABLE
    assert str(path) in caught.value.message
    return caught.value.message


def test_no_socket_and_our_own_are_all_right(tmp_path: Path) -> None:
    check_socket(str(tmp_path / "s"))
    make_socket(tmp_path / "s")
    check_socket(str(tmp_path / "s"))


def test_what_is_no_socket_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").touch()
    assert "not a socket" in refusal_of_socket(tmp_path / "s")
    make_socket(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert "a symlink" in refusal_of_socket(tmp_path / "link")
    refusal_of_socket(tmp_path / "s" / "below a file")


@needs_root
def test_a_socket_of_somebody_else_is_refused_unless_shared(tmp_path: Path) -> None:
    make_socket(tmp_path / "s")
    os.chown(tmp_path / "s", NOBODY, NOBODY)
    assert f"uid {NOBODY}" in refusal_of_socket(tmp_path / "s")
    (tmp_path / "s").chmod(0o660)
    check_socket(str(tmp_path / "s"))
