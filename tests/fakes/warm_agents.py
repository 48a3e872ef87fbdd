"""Our own agents from a process that has the vendors' packages imported already: for tests of many cases.

One JSON object a line on stdin, {name, stdin, environment}; one on stdout, {stdout, stderr, code}. Each case is a fork of
its own, which does what `mozartd/entry.py agent NAME` does.
"""

import json
import os
import sys
import tempfile
from contextlib import suppress
from importlib import import_module

from agents.main import run

for package in ("anthropic", "httpx2", "ollama", "mcp"):
    with suppress(ImportError):
        import_module(package)


def play(case: dict) -> dict:
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(case["stdin"].encode())
        stdin.flush()
        pid = os.fork()
        if pid == 0:
            for fd, file in enumerate((stdin, stdout, stderr)):
                os.dup2(file.fileno(), fd)
            os.lseek(0, 0, os.SEEK_SET)
            os.environ.clear()
            os.environ.update(case["environment"])
            os._exit(run(case["name"]))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        printed = [os.pread(file.fileno(), 1 << 20, 0).decode() for file in (stdout, stderr)]
    return {"stdout": printed[0], "stderr": printed[1], "code": code}


for line in iter(sys.stdin.readline, ""):
    print(json.dumps(play(json.loads(line))), flush=True)
