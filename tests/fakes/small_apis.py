"""Loopback servers for tests that speak Ollama's chat API and Recursive Light's, as their script says.

Each step of `script` answers one question to the model, the last for ever after:
("say", word...)    stream these words; ("tool", name, arguments) call a tool; ("status", code, {header: value}) refuse;
("cut", word)       a word, then a closed connection; ("hang", word) a word, then silence; ("length", word) a full context.
"""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, script: Sequence[tuple[Any, ...]]) -> None:
        super().__init__(("127.0.0.1", 0), Call)
        self.script = list(script)
        self.questions: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.over = threading.Event()
        self.hanging = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """Agents that are stopped close their connection."""

    def step(self) -> tuple[Any, ...]:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


class Call(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send({"models": []} if self.path == "/api/tags" else {"status": "ok"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.paths.append(self.path)
        self.server.questions.append(body)
        self.server.headers.append(dict(self.headers))
        kind, *rest = self.server.step()
        if kind == "status":
            self.send({"error": "no"}, *rest)
        elif self.path == "/api/process":
            self.send({"response": " ".join(rest)})
        elif self.path == "/api/chat":
            self.stream(body, kind, rest)
        else:
            self.send({"error": "not found"}, 404)

    def send(self, body: Any, status: int = 200, headers: Any = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def stream(self, body: Any, kind: str, rest: Sequence[Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if kind == "tool":
            name, arguments = rest
            call = {"function": {"name": name, "arguments": arguments}}
            self.part(body, {"role": "assistant", "content": "", "tool_calls": [call]})
        else:
            for word in rest:
                self.part(body, {"role": "assistant", "content": word})
        if kind == "hang":
            self.server.hanging.set()
            self.server.over.wait()
        if kind in ("hang", "cut"):
            self.close_connection = True
            return
        reason = "length" if kind == "length" else "stop"
        self.part(
            body,
            {"role": "assistant", "content": ""},
            done=True,
            done_reason=reason,
            prompt_eval_count=11,
            eval_count=3,
        )
        self.wfile.write(b"0\r\n\r\n")

    def part(self, body: Any, message: Any, **more: Any) -> None:
        data = json.dumps({"model": body["model"], "message": message, "done": False, **more}).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


@contextmanager
def serving(*script: tuple[Any, ...]) -> Iterator[Server]:
    server = Server(script)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
