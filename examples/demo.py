"""`make demo`: run hello.yaml with a daemon of its own, show it live, print the report, leave nothing running.

Everything happens in a temporary MOZART_HOME. Uses the installed commands as a user does, and nothing of ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
#: Where `mozart` and `mozartd` are: beside this interpreter, as pip puts them, or where the tests have them.
SCRIPTS = os.environ.get("MOZART_DEMO_SCRIPTS") or os.path.dirname(os.path.abspath(sys.executable))


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="mozart-demo-") as home:
        environment = {**os.environ, "MOZART_HOME": home}
        try:
            code = play(home, environment)
        finally:
            stop = [os.path.join(SCRIPTS, "mozartd"), "stop", "--force"]
            subprocess.run(stop, env=environment, stdout=subprocess.DEVNULL, check=False)
        left = left_over(home)
        print("Nothing was left running." if not left else f"LEFT RUNNING: {left}")
        return code or bool(left)


def play(home: str, environment: dict[str, str]) -> int:
    """Run the score in the foreground, then show what it made."""
    workspace = os.path.join(home, "workspace")
    command = ["run", os.path.join(HERE, "hello.yaml"), "--workspace", workspace]
    print("$ mozart", " ".join(command), flush=True)
    done = subprocess.run([os.path.join(SCRIPTS, "mozart"), *command], env=environment, check=False)
    if done.returncode == 0:
        with open(os.path.join(workspace, "report.md")) as report:
            print("\n" + report.read())
    return done.returncode


def left_over(home: str) -> list[int]:
    """Processes that still carry this demo's MOZART_HOME."""
    mark = f"MOZART_HOME={home}\0".encode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read() and int(name) != os.getpid():
                    found.append(int(name))
        except OSError:
            continue
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
