"""A model served by Ollama, with their own client (`pip install 'mozartd[ollama]'`), and tools from MCP servers.

The model is asked again until it calls no more tools, at most `max_tool_iterations` times. Ollama cuts off silently what
exceeds `num_ctx`; so a prompt that cannot fit is refused here, and what tools say is cut to what is left.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

from agents.context import Tool, compress, cut, fitting, tokens
from agents.servers import Servers
from agents.told import Failed, Task, missing, tell


def work(task: Task) -> str:
    try:
        import httpx  # the client's own, whose errors it lets through
        import ollama
    except ImportError as error:
        raise missing(error.name or "ollama", "ollama") from None
    address = task.options["ollama"]["base_url"]
    try:
        return asyncio.run(_work(task))
    except ollama.ResponseError as error:
        raise _refused(error, task.options["ollama"]["model"]) from None
    except httpx.TimeoutException as error:
        raise Failed("timeout", f"{address}: {type(error).__name__}") from None
    except (httpx.ConnectError, ConnectionError) as error:
        raise Failed("unreachable", f"cannot reach Ollama at {address}: {error}", "start it: `ollama serve`") from None
    except (httpx.HTTPError, json.JSONDecodeError) as error:
        raise Failed("network", f"the answer broke off: {error}") from None


async def _work(task: Task) -> str:
    import httpx
    import ollama

    options = task.options["ollama"]
    async with ollama.AsyncClient(options["base_url"], timeout=options["health_check_timeout"]) as client:
        await client.list()  # GET /api/tags: is it there?
    async with AsyncExitStack() as stack:
        # A failure travels as a value: left to unwind through the servers' task groups, it would arrive wrapped.
        try:
            servers = await _start(task, stack)
            client = ollama.AsyncClient(options["base_url"], timeout=options["timeout_seconds"])
            return await Conversation(await stack.enter_async_context(client), task, servers).run()
        except (Failed, ollama.ResponseError, httpx.HTTPError, json.JSONDecodeError) as failed:
            ending = failed
    raise ending


async def _start(task: Task, stack: AsyncExitStack) -> Servers:
    servers = Servers(stack)
    bridge = task.options.get("bridge")
    if bridge and bridge["mcp_proxy_enabled"]:
        await servers.start(bridge["mcp_servers"])
    return servers


class Conversation:
    """The messages so far, and how much of the context they take."""

    def __init__(self, client: Any, task: Task, servers: Servers) -> None:
        self._client = client
        self._options = task.options["ollama"]
        self._servers = servers
        self._messages: list[dict[str, Any]] = [{"role": "user", "content": task.prompt}]
        if task.system is not None:
            self._messages.insert(0, {"role": "system", "content": task.system})
        self._room = _budget(task)
        """Tokens that may still be added."""
        self._used = tokens(task.prompt) + tokens(task.system or "")
        if self._used > self._room:
            message = f"the prompt takes some {self._used:,} tokens, the context has room for {self._room:,}"
            raise Failed("long", message, "raise backend.ollama.num_ctx or split the sheet")
        self._tools = self._choose_tools(task.prompt)
        self._input = self._output = 0

    def _choose_tools(self, prompt: str) -> list[Tool]:
        tools = [compress(tool, self._options["compression_level"]) for tool in self._servers.tools]
        left = self._room - self._used
        chosen = fitting(tools, prompt, left)
        if len(chosen) < len(tools):
            if not self._options["dynamic_tools"]:
                message = f"the descriptions of {len(tools)} tools do not fit into the {left:,} tokens that are left"
                raise Failed("long", message, "raise num_ctx or compression_level, or set dynamic_tools: true")
            tell(
                "notice", text=f"{len(chosen)} of {len(tools)} tools fit into the context, those nearest to the prompt"
            )
        self._used += tokens(chosen) if chosen else 0
        return chosen

    async def run(self) -> str:
        tell("start", model=self._options["model"])
        for _ in range(self._options["max_tool_iterations"]):
            calls, stop = await self._ask()
            if not calls:
                return stop
            for call in calls:
                await self._call(call.function.name, call.function.arguments)
        return "max_tool_iterations"

    async def _ask(self) -> tuple[list[Any], str]:
        options = self._options
        said: list[str] = []
        calls: list[Any] = []
        stream = await self._client.chat(
            options["model"], self._messages, tools=self._tools or None, stream=True,
            options={"num_ctx": options["num_ctx"]}, keep_alive=options["keep_alive"],
        )  # fmt: skip
        async for part in stream:
            if part.message.thinking:
                tell("thinking", text=part.message.thinking)
            if part.message.content:
                said.append(part.message.content)
                tell("text", text=part.message.content)
            calls += part.message.tool_calls or ()
            if part.done:
                self._count(part)
                self._messages.append({"role": "assistant", "content": "".join(said), "tool_calls": calls or None})
                return calls, part.done_reason or "stop"
        raise Failed("network", "the answer broke off before its end")

    def _count(self, part: Any) -> None:
        fresh, answered = part.prompt_eval_count or 0, part.eval_count or 0
        self._input += fresh
        self._output += answered
        # What it has counted is the truth, but for what it had in its cache and left out.
        self._used = max(self._used, fresh) + answered
        tell("usage", input=self._input, output=self._output)

    async def _call(self, name: str, arguments: Any) -> None:
        tell("tool", name=name, arguments=dict(arguments))
        answer, is_error = await self._servers.call(name, arguments)
        shown = cut(answer, self._room - self._used)
        self._used += tokens(shown)
        tell("tool_result", name=name, error=is_error, characters=len(answer), text=shown)
        if self._used > self._room:
            raise Failed("long", f"the conversation fills the context ({self._room:,} tokens)", "raise num_ctx")
        self._messages.append({"role": "tool", "tool_name": name, "content": shown})


def _budget(task: Task) -> int:
    bridge = task.options.get("bridge")
    percent = bridge["context_budget_percent"] if bridge else 100
    return int(task.options["ollama"]["num_ctx"]) * int(percent) // 100


def _refused(error: Any, model: str) -> Failed:
    status = error.status_code if error.status_code >= 400 else None
    hint = f"`ollama pull {model}`" if status == 404 else ""
    kind = "" if status else "bad_response"
    return Failed(kind, f"Ollama refused ({status or 'in the stream'}): {error.error}", hint, status)
