"""Install the real programs, pinned: `python -m tests.agents.install [NAME …]` prints where each is.

One npm project for each in `packages/`, its lock with the hashes of all it consists of and no registry's name. Installed
once into $MOZART_AGENTS_DIR (~/.cache/mozart-agents), under the lock's digest: a change of version is another directory.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = Path(__file__).parent / "packages"
NAMES = tuple(sorted(path.name for path in PACKAGES.iterdir()))
#: Seconds that a registry may take.
PATIENCE = 600.0


class UnavailableError(Exception):
    """The program cannot be had here, and why."""


def cache() -> Path:
    chosen = os.environ.get("MOZART_AGENTS_DIR")
    return (
        Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mozart-agents"
    )


def place(name: str) -> Path:
    """Where the program is, or will be."""
    lock = PACKAGES / name / "package-lock.json"
    return cache() / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"


def executables(name: str) -> Path:
    return place(name) / "node_modules" / ".bin"


def installed(name: str, patience: float = PATIENCE) -> Path:
    """The directory of the program's executables; installs it when it is not there."""
    if not place(name).is_dir():
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            raise UnavailableError(f"{name} is not installed, and neither are node and npm")
        cache().mkdir(parents=True, exist_ok=True)
        install(npm, name, patience)
    return executables(name)


def install(npm: str, name: str, patience: float) -> None:
    """Into a directory beside, then renamed: what has the name is complete. npm asks the registry it always asks."""
    building = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache()))
    try:
        shutil.copytree(PACKAGES / name, building, dirs_exist_ok=True)
        # Not `npm ci`: it insists on the optional packages of other platforms, which a registry need not have.
        command = [npm, "install", "--ignore-scripts=false", "--no-audit", "--no-fund", "--loglevel=error"]
        command += ["--prefix", str(building)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patience)
        if done.returncode != 0:
            raise UnavailableError(f"npm cannot install {name}: {one_line(done.stderr)}")
        with contextlib.suppress(OSError):  # somebody else was faster
            building.rename(place(name))
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"npm did not install {name} within {patience:g} s") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)


def one_line(stderr: str) -> str:
    return " ".join(line.removeprefix("npm error").strip() for line in stderr.splitlines() if "error" in line)[:300]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.agents.install", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    missing = 0
    for name in parser.parse_args().names or NAMES:
        try:
            print(f"{name}: {installed(name)}")
        except UnavailableError as error:
            print(error, file=sys.stderr)
            missing = 1
    return missing


if __name__ == "__main__":
    sys.exit(main())
