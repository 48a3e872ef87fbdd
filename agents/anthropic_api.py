"""Claude by Anthropic's Messages API, with their own SDK (`pip install 'mozartd[anthropic]'`).

One streamed request. The SDK's retries are off: Mozart sees a limit when it happens, and holds for everybody.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from agents.told import Failed, Task, missing, tell

if TYPE_CHECKING:
    import anthropic

#: Headers by which a limit says when it ends.
_HEADERS = ("retry-after", "anthropic-ratelimit-")
_COUNTS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_input_tokens": "cache_read",
    "cache_creation_input_tokens": "cache_write",
}


def work(task: Task) -> str:
    """Why the model stopped."""
    name = task.options["api_key_env"]
    key = os.environ.get(name)
    if not key:
        hint = f"set {name} where the daemon runs, or name another variable in backend.api_key_env"
        raise Failed("no_key", f"cannot ask the API: the variable {name} is not set", hint)
    try:
        import anthropic
        import httpx2  # the SDK's own HTTP client, whose errors it lets through once a stream has begun
    except ImportError as error:
        raise missing(error.name or "anthropic", "anthropic") from None
    timeout = float(task.options["timeout_seconds"])
    with anthropic.Anthropic(api_key=key, max_retries=0, timeout=timeout) as client:
        try:
            return _ask(client, task)
        except anthropic.APIStatusError as error:
            raise _refused(error) from None
        except anthropic.APITimeoutError as error:
            raise Failed("timeout", str(error)) from None
        except anthropic.APIConnectionError as error:
            raise Failed("unreachable", f"{error} {error.__cause__ or ''}".strip()) from None
        except (httpx2.HTTPError, ValueError) as error:
            raise Failed("network", f"the answer broke off: {error}") from None


def _ask(client: anthropic.Anthropic, task: Task) -> str:
    import anthropic

    options = task.options
    request: dict[str, Any] = {
        "model": options["model"],
        "max_tokens": options["max_tokens"],
        "messages": [{"role": "user", "content": task.prompt}],
        "extra_body": {"temperature": options["temperature"]},
        "stream": True,
    }
    if task.system is not None:
        request["system"] = task.system
    try:
        stream = client.messages.create(**request)
    except anthropic.BadRequestError as error:
        if "temperature" not in str(error):
            raise
        # Newer models take none. A score's default must not keep it from running on them; it is said, though.
        tell("notice", text=f"the model {options['model']} takes no temperature: asking without it")
        stream = client.messages.create(**{**request, "extra_body": None})
    with stream:
        return _listen(stream)


def _listen(stream: Any) -> str:
    usage: dict[str, int] = {}
    stop = ""
    for event in stream:
        if event.type == "content_block_delta" and event.delta.type == "text_delta":
            tell("text", text=event.delta.text)
        elif event.type == "message_start":
            tell("start", model=event.message.model)
            _count(usage, event.message.usage)
        elif event.type == "message_delta":
            stop = event.delta.stop_reason or stop
            _count(usage, event.usage)
        elif event.type == "message_stop":
            return stop
    raise Failed("network", "the answer broke off before its end")


def _count(usage: dict[str, int], said: Any) -> None:
    """Totals so far: what an event leaves out stays."""
    for theirs, ours in _COUNTS.items():
        number = getattr(said, theirs, None)
        if number is not None:
            usage[ours] = number
    tell("usage", **usage)


def _refused(error: anthropic.APIStatusError) -> Failed:
    headers = {name: value for name, value in error.response.headers.items() if name.startswith(_HEADERS)}
    said = error.api_message or str(error)
    kind = _kind(error.type or "", said)
    # An error inside a stream comes with the stream's own 200.
    status = error.status_code if error.status_code >= 400 else None
    return Failed(kind, f"{error.type or 'HTTP'} ({status or 'in the stream'}): {said}", status=status, headers=headers)


def _kind(name: str, said: str) -> str:
    if said.startswith(("prompt is too long", "input length and `max_tokens` exceed")):
        return "long"
    if "credit balance is too low" in said:
        return "billing"
    return {
        "authentication_error": "auth", "permission_error": "auth", "billing_error": "billing", "not_found_error": "model",
        "request_too_large": "long", "rate_limit_error": "limit", "overloaded_error": "overloaded",
        "api_error": "overloaded", "timeout_error": "timeout", "invalid_request_error": "configuration",
    }.get(name, "")  # fmt: skip
