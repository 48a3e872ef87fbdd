"""The MCP servers of a score's `bridge:`, started over stdio with the official `mcp` package, and their tools.

A server inherits PATH, HOME and the like, what the score gives it, and the attempt's marks, by which the worker finds it
when it outlives us. What it says on stderr goes to the attempt's log.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from agents.context import Tool
from agents.told import Failed, missing

_MARKS = ("MOZART_ATTEMPT_ID", "MOZART_STATE")


class Servers:
    """Running servers and whose tool is whose. Two with a tool of the same name: the second's is `server__tool`."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._owners: dict[str, tuple[Any, str, float]] = {}
        self.tools: list[Tool] = []

    async def start(self, configured: Sequence[Mapping[str, Any]]) -> None:
        for server in configured:
            await self._start(server)

    async def _start(self, server: Mapping[str, Any]) -> None:
        try:
            import mcp
        except ImportError as error:
            raise missing(error.name or "mcp", "ollama") from None
        marks = {name: os.environ[name] for name in _MARKS if name in os.environ}
        parameters = mcp.StdioServerParameters(
            command=server["command"], args=server["args"], env={**marks, **server["env"]}, cwd=server["working_dir"]
        )
        timeout = server["timeout_seconds"]
        try:
            async with asyncio.timeout(timeout):
                client = await self._stack.enter_async_context(mcp.Client(parameters, read_timeout_seconds=timeout))
                for tool in await _tools(client):
                    self._offer(server["name"], client, tool, timeout)
        except TimeoutError:
            raise _useless(server, f"it said nothing within {timeout:g} s") from None
        except (OSError, ValueError, mcp.MCPError, ExceptionGroup) as error:
            raise _useless(server, str(error)) from None

    def _offer(self, server: str, client: Any, tool: Any, timeout: float) -> None:
        name = tool.name if tool.name not in self._owners else f"{server}__{tool.name}"
        self._owners[name] = (client, tool.name, timeout)
        function = {"name": name, "description": tool.description or "", "parameters": tool.input_schema}
        self.tools.append({"type": "function", "function": function})

    async def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        """(what the tool said, whether that is an error). The model is told of errors, and may do better."""
        import mcp

        if name not in self._owners:
            return f"there is no tool {name!r}; there are {', '.join(self._owners) or 'none'}", True
        client, its_name, timeout = self._owners[name]
        try:
            result = await client.call_tool(its_name, dict(arguments), timeout)
        except mcp.MCPError as error:
            return error.message, True
        except (OSError, RuntimeError) as error:
            return f"the MCP server failed: {error or type(error).__name__}", True
        return "\n".join(_text(block) for block in result.content), result.is_error


async def _tools(client: Any) -> list[Any]:
    found, cursor = [], None
    while True:
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        if not (cursor := page.next_cursor):
            return found


def _text(block: Any) -> str:
    return block.text if block.type == "text" else f"[{block.type}]"


def _useless(server: Mapping[str, Any], why: str) -> Failed:
    return Failed("mcp", f"cannot use the MCP server {server['name']!r} ({server['command']}): {why}")
