#!/usr/bin/env -S python3 -I -S
"""A loopback server that speaks four model APIs, exactly as badly as its scripts say.

usage: model_apis.py DIRECTORY      (prints `http://127.0.0.1:PORT`, then serves until its stdin ends)

An agent's base URL chooses the script: http://127.0.0.1:PORT/NAME plays DIRECTORY/NAME, one line for each request to the
model; the last line is repeated. Which API is meant shows in the rest of the path: /v1/messages (Anthropic), /responses and
/chat/completions (OpenAI), :streamGenerateContent and :generateContent (Gemini). Requests and answers are appended to
DIRECTORY/NAME.requests, one JSON object a line: n (-1 for requests that are no question to the model), method, path,
status, and the request's body.

  say TEXT              answer with TEXT
  big BYTES             answer with numbered lines of 64 bytes, BYTES in all
  slow COUNT SECONDS    answer with COUNT pieces `piece N`, one every SECONDS
  shell COMMAND         ask the agent to run COMMAND with whatever tool it offers for that
  status CODE [NAME:VALUE ...]   refuse, in the API's own form, with these headers
  invalid TEXT          refuse with 400 and this message
  quota SECONDS         refuse: a usage limit that resets in SECONDS
  cut TEXT              half of TEXT, then a reset connection
  hang TEXT             half of TEXT, then silence

It listens on 127.0.0.1 only and brings up the loopback device, in case it has a network namespace of its own.
"""

import fcntl
import hashlib
import http.server
import json
import os
import re
import socket
import struct
import sys
import threading
import time

PIECE = 12  # characters of text in one event
BIG_PIECE = 16384
SHELLS = ("Bash", "shell_command", "exec_command", "shell", "run_shell_command", "bash")
MESSAGES = {
    400: "this request is invalid",
    401: "invalid x-api-key",
    403: "this key may not do that",
    404: "this model does not exist",
    429: "this request would exceed your rate limit",
    500: "internal server error",
    503: "the service is unavailable",
    529: "Overloaded",
}


class CutError(Exception):
    """The script wants the connection to end here."""


def pieces(line):
    """The line's answer as (pieces of text, seconds between them)."""
    name, _, rest = line.partition(" ")
    if name == "big":
        total = int(rest)
        # No two alike: agents stop models that repeat themselves.
        text = "".join(f"{n:010d} {hashlib.sha256(b'%d' % n).hexdigest()[:52]}\n" for n in range(-(-total // 64)))[
            :total
        ]
        return [text[i : i + BIG_PIECE] for i in range(0, total, BIG_PIECE)], 0.0
    if name == "slow":
        count, seconds = rest.split()
        return [f"piece {n}\n" for n in range(int(count))], float(seconds)
    cut = [rest[i : i + PIECE] for i in range(0, len(rest), PIECE)]
    return (cut[: max(1, len(cut) // 2)] if name in ("cut", "hang") else cut), 0.0


class Call(http.server.BaseHTTPRequestHandler):
    """One connection; `self.api` knows how its API puts things."""

    protocol_version = "HTTP/1.1"
    server_version = "model_apis"
    sys_version = ""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.play()

    do_POST = do_HEAD = do_PUT = do_DELETE = do_GET  # noqa: N815

    def play(self):
        self.body = self.read_body()
        script = self.script = self.path.split("/")[1].split("?")[0]
        self.is_noted = False
        self.api = next((api for pattern, api in APIS if re.search(pattern, self.path)), None)
        asked = self.api is not None and self.command == "POST" and is_main(self.headers, self.body)
        self.n, line = self.server.next_line(script) if asked else (-1, "")
        self.status = 200
        try:
            self.answer(line) if asked else self.aside()
        except (CutError, ConnectionError, TimeoutError):
            self.reset()
        finally:
            self.server.note(self)

    def answer(self, line):
        name, _, rest = line.partition(" ")
        if name == "status":
            code, *headers = rest.split()
            self.refuse(int(code), *self.api.error(int(code)), headers)
        elif name == "quota":
            self.refuse(429, *self.api.quota(float(rest)))
        elif name == "invalid":
            body, headers = self.api.error(400)
            body["error"]["message"] = rest
            self.refuse(400, body, headers)
        else:
            self.stream(line, name, rest)

    def stream(self, line, name, rest):
        streaming = "streamGenerateContent" in self.path or bool(self.body.get("stream"))
        tool = (shell_of(self.body), rest) if name == "shell" else None
        text, seconds = ([], 0.0) if tool else pieces(line)
        if not streaming:
            self.send(200, self.api.whole(self, "".join(text), tool))
            return
        self.open_stream()
        for event in self.api.events(self, text, tool, name in ("cut", "hang")):
            if event is not None:
                self.write(event)
            elif name == "hang":
                self.server.note(self)
                self.server.over.wait()
                raise CutError
            elif name == "cut":
                raise CutError
            elif seconds:
                self.server.over.wait(seconds)

    def aside(self):
        """What agents ask beside: token counts, lists of models, health, side calls for titles."""
        if self.path.split("?")[0].endswith(("/count_tokens", ":countTokens")):
            self.send(200, {"input_tokens": 100, "totalTokens": 100})
        elif self.command == "HEAD":
            self.send(200, {})
        elif self.api is not None and self.command == "POST":
            self.stream("say A title", "say", "A title")
        else:
            self.status = 404
            self.send(404, {"type": "error", "error": {"type": "not_found_error", "message": "not found"}})

    # ---- bytes

    def read_body(self):
        if (self.headers.get("transfer-encoding") or "").lower() == "chunked":
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            found = json.loads(data)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def refuse(self, code, body, own_headers, headers=()):
        self.status = code
        given = dict(header.split(":", 1) for header in headers)
        self.send(code, body, {**own_headers, **given})

    def send(self, code, body, headers=None):
        data = json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, str(value))
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def open_stream(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

    def write(self, event):
        if self.api.named:
            self.wfile.write(f"event: {event['type']}\n".encode())
        data = event if isinstance(event, str) else json.dumps(event)
        self.wfile.write(f"data: {data}\n\n".encode())
        self.wfile.flush()

    def reset(self):
        self.close_connection = True
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        except OSError:
            pass


def is_main(headers, body):
    """A question of the user's: those that CLIs ask beside it, for a title or which model to take, offer no tools. Mozart's
    own agent asks nothing else."""
    return bool(body.get("tools")) or headers.get("User-Agent", "").startswith("Anthropic/Python")


def shell_of(body):
    """The name of the tool that runs commands, and the shape of its arguments."""
    offered = json.dumps(body.get("tools") or [])
    return next((name for name in SHELLS if f'"name": "{name}"' in offered), SHELLS[0])


def shell_arguments(name, command):
    key = "cmd" if name == "exec_command" else "command"
    value = ["bash", "-c", command] if name == "shell" else command
    more = {"description": "what the script says"} if name in ("Bash", "bash", "run_shell_command") else {}
    # Long enough for a tool that is there to be cancelled.
    patience = {"timeout_ms": 600_000} if name == "shell_command" else {}
    return {key: value, **more, **patience}


# ---- the APIs: how each says an error, a limit, an answer. `events` yields None where a pause, cut or hang may be. -----


ANTHROPIC_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    400: "invalid_request_error",
    529: "overloaded_error",
}


class Anthropic:
    named = True

    def error(self, code):
        error = {"type": ANTHROPIC_KINDS.get(code, "api_error"), "message": MESSAGES.get(code, "an error")}
        return {"type": "error", "error": error, "request_id": "req_fake"}, {"request-id": "req_fake"}

    def quota(self, seconds):
        body, headers = self.error(429)
        prefix = "anthropic-ratelimit-unified-"
        at = int(time.time() + seconds)
        headers |= {f"{prefix}status": "rejected", f"{prefix}reset": at, f"{prefix}representative-claim": "five_hour",
                    f"{prefix}5h-status": "rejected", f"{prefix}5h-reset": at, f"{prefix}5h-utilization": "1.0",
                    f"{prefix}overage-status": "rejected", f"{prefix}overage-disabled-reason": "org_level_disabled",
                    "retry-after": int(seconds), "x-should-retry": "false"}  # fmt: skip
        return body, headers

    def message(self, call, content, stop):
        usage = {"input_tokens": 120, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 1000,
                 "output_tokens": 9}  # fmt: skip
        return {"id": f"msg_{call.n}", "type": "message", "role": "assistant", "model": call.body.get("model"),
                "content": content, "stop_reason": stop, "stop_sequence": None, "usage": usage}  # fmt: skip

    def blocks(self, call, text, tool):
        if tool:
            name, command = tool
            arguments = shell_arguments(name, command)
            return [{"type": "tool_use", "id": f"toolu_{call.n}", "name": name, "input": arguments}], "tool_use"
        return [{"type": "text", "text": text}], "end_turn"

    def whole(self, call, text, tool):
        return self.message(call, *self.blocks(call, text, tool))

    def events(self, call, text, tool, unfinished):
        yield {"type": "message_start", "message": self.message(call, [], None)}
        [block], stop = self.blocks(call, "", tool)
        opened = {**block, "input": {}} if tool else block
        yield {"type": "content_block_start", "index": 0, "content_block": opened}
        if tool:
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            yield {"type": "content_block_delta", "index": 0, "delta": delta}
        for piece in text:
            yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            if not unfinished:
                yield None
        if unfinished:
            yield None
        yield {"type": "content_block_stop", "index": 0}
        yield {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None},
               "usage": {"output_tokens": 25}}  # fmt: skip
        yield {"type": "message_stop"}


OPENAI_KINDS = {
    401: "invalid_api_key",
    429: "rate_limit_exceeded",
    404: "model_not_found",
    529: "server_is_overloaded",
}


class OpenAI:
    """What both of its APIs share."""

    def error(self, code):
        kind = "invalid_request_error" if code < 429 else "requests" if code == 429 else "server_error"
        return {"error": {"message": MESSAGES.get(code, "an error"), "type": kind, "param": None,
                          "code": OPENAI_KINDS.get(code)}}, {"x-request-id": "req_fake"}  # fmt: skip


class Responses(OpenAI):
    named = True

    def quota(self, seconds):
        error = {"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus",
                 "resets_at": int(time.time() + seconds)}  # fmt: skip
        return {"error": error}, {}

    def items(self, call, text, tool):
        if tool:
            name, command = tool
            return {"id": f"fc_{call.n}", "type": "function_call", "call_id": f"call_{call.n}", "name": name,
                    "arguments": json.dumps(shell_arguments(name, command)), "status": "completed"}  # fmt: skip
        return {"id": f"msg_{call.n}", "type": "message", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}]}  # fmt: skip

    def response(self, call, status, output):
        usage = {"input_tokens": 1120, "input_tokens_details": {"cached_tokens": 1000}, "output_tokens": 25,
                 "output_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 1145}  # fmt: skip
        return {"id": f"resp_{call.n}", "object": "response", "created_at": int(time.time()), "status": status,
                "model": call.body.get("model"), "output": output, "usage": usage}  # fmt: skip

    def whole(self, call, text, tool):
        return self.response(call, "completed", [self.items(call, text, tool)])

    def events(self, call, text, tool, unfinished):
        yield {"type": "response.created", "response": {**self.response(call, "in_progress", []), "usage": None}}
        item = self.items(call, "".join(text), tool)
        if not tool:
            opened = {**item, "status": "in_progress", "content": []}
            yield {"type": "response.output_item.added", "output_index": 0, "item": opened}
        for piece in text:
            yield {"type": "response.output_text.delta", "item_id": item["id"], "output_index": 0, "content_index": 0,
                   "delta": piece}  # fmt: skip
            if not unfinished:
                yield None
        if unfinished:
            yield None
        yield {"type": "response.output_item.done", "output_index": 0, "item": item}
        yield {"type": "response.completed", "response": self.response(call, "completed", [item])}


CHAT_USAGE = {
    "prompt_tokens": 1120,
    "completion_tokens": 25,
    "total_tokens": 1145,
    "prompt_tokens_details": {"cached_tokens": 1000},
}


class Chat(OpenAI):
    named = False

    def quota(self, seconds):
        error = {"message": "You exceeded your current quota, please check your plan and billing details.",
                 "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}  # fmt: skip
        return {"error": error}, {"retry-after": int(seconds)}

    def calls(self, call, tool):
        name, command = tool
        arguments = json.dumps(shell_arguments(name, command))
        function = {"name": name, "arguments": arguments}
        return [{"index": 0, "id": f"call_{call.n}", "type": "function", "function": function}]

    def completion(self, call, kind, choice, **more):
        choices = [{"index": 0, **choice}] if choice else []
        return {"id": f"chatcmpl-{call.n}", "object": kind, "created": int(time.time()),
                "model": call.body.get("model"), "choices": choices, **more}  # fmt: skip

    def whole(self, call, text, tool):
        message = {"role": "assistant", "content": text or None}
        if tool:
            message["tool_calls"] = self.calls(call, tool)
        choice = {"message": message, "finish_reason": "tool_calls" if tool else "stop"}
        return self.completion(call, "chat.completion", choice, usage=CHAT_USAGE)

    def events(self, call, text, tool, unfinished):
        def chunk(delta, reason=None):
            return self.completion(call, "chat.completion.chunk", {"delta": delta, "finish_reason": reason})

        yield chunk({"role": "assistant", "content": ""})
        if tool:
            yield chunk({"tool_calls": self.calls(call, tool)})
        for piece in text:
            yield chunk({"content": piece})
            if not unfinished:
                yield None
        if unfinished:
            yield None
        yield chunk({}, "tool_calls" if tool else "stop")
        yield self.completion(call, "chat.completion.chunk", None, usage=CHAT_USAGE)
        yield "[DONE]"


GEMINI_KINDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


GEMINI_USAGE = {
    "promptTokenCount": 1200,
    "cachedContentTokenCount": 1000,
    "candidatesTokenCount": 25,
    "totalTokenCount": 1225,
}


class Gemini:
    named = False

    def error(self, code):
        message = MESSAGES.get(code, "an error")
        return {"error": {"code": code, "message": message, "status": GEMINI_KINDS.get(code, "UNAVAILABLE")}}, {}

    def quota(self, seconds):
        body, headers = self.error(429)
        body["error"]["message"] = "You exceeded your current quota, please check your plan and billing details."
        body["error"]["details"] = [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
                "quotaMetric": "generativelanguage.googleapis.com/generate_content_paid_tier_requests",
                "quotaId": "GenerateRequestsPerDayPerProjectPerModel", "quotaValue": "100"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{int(seconds)}s"},
        ]  # fmt: skip
        return body, headers

    def chunk(self, call, parts, finish=None, **more):
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        model = re.search(r"/models/([^/:]+)", call.path)
        return {
            "candidates": [candidate],
            "modelVersion": model[1] if model else "",
            "responseId": f"r{call.n}",
            **more,
        }

    def call_parts(self, tool):
        name, command = tool
        return [{"functionCall": {"name": name, "args": shell_arguments(name, command)}}]

    def whole(self, call, text, tool):
        parts = self.call_parts(tool) if tool else [{"text": text}]
        return self.chunk(call, parts, "STOP", usageMetadata=GEMINI_USAGE)

    def events(self, call, text, tool, unfinished):
        if tool:
            yield self.chunk(call, self.call_parts(tool))
        for piece in text:
            yield self.chunk(call, [{"text": piece}])
            if not unfinished:
                yield None
        if unfinished:
            yield None
        yield self.chunk(call, [{"text": ""}], "STOP", usageMetadata=GEMINI_USAGE)


APIS = (
    (r"/v1/messages(?:\?|$)", Anthropic()),
    (r"/responses(?:\?|$)", Responses()),
    (r"/chat/completions(?:\?|$)", Chat()),
    (r":(?:streamG|g)enerateContent", Gemini()),
)


# ---- the server -----------------------------------------------------------------------------------------------------


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, directory):
        super().__init__(("127.0.0.1", 0), Call)
        self.directory = directory
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.played = {}

    def handle_error(self, *_):
        """An agent that goes away in the middle is what the scripts are about."""

    def next_line(self, script):
        with open(os.path.join(self.directory, script)) as file:
            lines = file.read().splitlines()
        with self.lock:
            n = self.played.get(script, 0)
            self.played[script] = n + 1
        return n, lines[min(n, len(lines) - 1)]

    def note(self, call):
        """Once for each call, when it is over or will not be."""
        if call.is_noted:
            return
        call.is_noted = True
        noted = {"n": call.n, "method": call.command, "path": call.path, "status": call.status, "body": call.body}
        with self.lock, open(os.path.join(self.directory, f"{call.script}.requests"), "a") as file:
            file.write(json.dumps(noted) + "\n")


def raise_loopback():
    """`ip link set lo up`; somebody who may not has one that is up already."""
    siocgifflags, siocsifflags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(probe, siocgifflags, request))[1]
        if not flags & up:
            fcntl.ioctl(probe, siocsifflags, struct.pack("16sh22x", b"lo", flags | up))


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__.strip())
        sys.exit(0 if sys.argv[1:] == ["--help"] else 64)
    raise_loopback()
    with Server(sys.argv[1]) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        sys.stdin.buffer.read()
        server.over.set()
        server.shutdown()


if __name__ == "__main__":
    main()
