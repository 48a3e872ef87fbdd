"""Recursive Light: one POST of the prompt, one answer."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from agents.told import Failed, Task, tell


def work(task: Task) -> str:
    options = task.options["recursive_light"]
    user = options.get("user_id") or task.session_id
    # It has no place for a system prompt: V209 says so of a score that has one.
    body = json.dumps({"user_id": user, "message": task.prompt}).encode()
    headers = {"Content-Type": "application/json", "X-Mozart-User-ID": user}
    _ask(options, "GET", "/health")
    answer = _ask(options, "POST", "/api/process", body, headers)
    try:
        said = json.loads(answer)["response"]
    except (ValueError, KeyError, TypeError):
        raise Failed("bad_response", f"its answer has no `response`: {answer[:300]!r}") from None
    if not isinstance(said, str):
        raise Failed("bad_response", f"its `response` is no text: {answer[:300]!r}")
    tell("start", model="recursive_light")
    tell("text", text=said)
    return "end_turn"


def _ask(options: Any, method: str, path: str, body: bytes | None = None, headers: Any = None) -> bytes:
    endpoint = urlsplit(options["endpoint"])
    if endpoint.scheme not in ("http", "https") or not endpoint.hostname:
        raise Failed("configuration", f"recursive_light.endpoint {options['endpoint']!r} is no http address")
    kind = http.client.HTTPSConnection if endpoint.scheme == "https" else http.client.HTTPConnection
    connection = kind(endpoint.hostname, endpoint.port, timeout=options["timeout"])
    where = f"{method} {endpoint.netloc}{path}"
    try:
        connection.request(method, endpoint.path.rstrip("/") + path, body, headers or {})
        response = connection.getresponse()
        answer = response.read()
    except TimeoutError:
        raise Failed("timeout", f"{where} took longer than {options['timeout']:g} s") from None
    except (http.client.HTTPException, ConnectionResetError) as error:
        raise Failed("network", f"{where}: {error or type(error).__name__}") from None
    except OSError as error:
        raise Failed("unreachable", f"{where}: {error}") from None
    finally:
        connection.close()
    if response.status >= 300:
        said = answer[:300].decode(errors="replace")
        after = response.getheader("retry-after")
        limits = {"retry-after": after} if after else {}
        raise Failed("", f"{where} answered {response.status}: {said}", status=response.status, headers=limits)
    return answer
