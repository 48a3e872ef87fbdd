"""Claude Code's lines for people: text as it is generated, tool calls, what went wrong, what it cost.

Called by `claude_cli`, for whoever follows a log.
"""

from __future__ import annotations

import time
from typing import Any

from backends.base import STDERR
from backends.claude_errors import complaint, facts_of
from backends.records import count, decoded, items, number, parse, price, section, text
from backends.rendering import Page, call, clean, one_line

#: Which of a tool's arguments tells most.
_TELLING = (
    "command",
    "file_path",
    "notebook_path",
    "path",
    "pattern",
    "query",
    "url",
    "description",
    "skill",
    "prompt",
)


class ClaudeRenderer:
    """Text as it is generated, one line for each tool call, what went wrong, and how it ended."""

    def __init__(self) -> None:
        self._page = Page()
        self._answered = False
        self._message = ""
        self._streamed = ""
        """What of the open block has been shown and no full message has confirmed."""

    def feed(self, stream: str, line: bytes) -> str:
        if stream == STDERR or line[:1] not in (b"{", b"["):
            return self._page.line(clean(decoded(line)))
        value = parse(line)
        if isinstance(value, list):
            return "".join(self._show(item) for item in items(value))
        if not isinstance(value, dict) or "type" not in value:
            return self._page.line(clean(decoded(line)))
        return self._show(value)

    def finish(self) -> str:
        return self._page.fresh()

    def _show(self, item: dict[str, Any]) -> str:
        match item.get("type"):
            case "stream_event":
                return self._show_delta(item)
            case "assistant":
                return self._show_message(item)
            case "user":
                return self._show_answers(item)
            case "system":
                return self._show_system(item)
            case "rate_limit_event":
                return self._show_limit(section(item, "rate_limit_info"))
            case "result":
                return self._show_result(item)
        return ""

    def _show_delta(self, item: dict[str, Any]) -> str:
        if item.get("parent_tool_use_id"):
            # Subagents write side by side: their messages are shown when they are whole.
            return ""
        event = section(item, "event")
        if event.get("type") == "message_start":
            void = self._void()
            self._message = text(section(event, "message").get("id"))
            return void
        words = clean(section(event, "delta").get("text"))
        self._streamed += words
        self._answered = True
        return self._page.stream(words)

    def _void(self) -> str:
        """The stream broke and the answer is asked for again: what was shown of it does not count."""
        if not self._streamed:
            return ""
        self._streamed = ""
        return self._page.line(" [the answer broke off and starts again]") if self._page.midline else ""

    def _show_message(self, item: dict[str, Any]) -> str:
        indent = "  " if item.get("parent_tool_use_id") else ""
        message = section(item, "message")
        shown = ""
        if item.get("error"):
            # Not the model's words; the result says them again.
            return self._void()
        self._answered = True
        if not indent and text(message.get("id")) != self._message:
            shown, self._message = self._void(), text(message.get("id"))
        for block in items(message.get("content")):
            if block.get("type") == "text":
                shown += self._show_text(indent, clean(block.get("text")))
            elif block.get("type") == "tool_use":
                shown += self._page.line(
                    f"{indent}→ {call(clean(block.get('name')), section(block, 'input'), _TELLING)}"
                )
        return shown

    def _show_text(self, indent: str, words: str) -> str:
        if not indent and self._streamed:
            self._streamed = ""
            return self._page.fresh()
        if not words.strip():
            return ""
        return self._page.line(indent + words.replace("\n", "\n" + indent))

    def _show_answers(self, item: dict[str, Any]) -> str:
        indent = "    " if item.get("parent_tool_use_id") else "  "
        answers = items(section(item, "message").get("content"))
        failed = (answer for answer in answers if answer.get("type") == "tool_result" and answer.get("is_error"))
        return "".join(self._page.line(f"{indent}✗ {one_line(_said(answer))}") for answer in failed)

    def _show_system(self, item: dict[str, Any]) -> str:
        match item.get("subtype"):
            case "api_retry":
                wait = (number(item.get("retry_delay_ms")) or 0.0) / 1000
                why = clean(item.get("error")) or "network"
                of = f"{item.get('attempt')} of {item.get('max_retries')}"
                return self._page.line(f"… {why}: trying again in {wait:.1f} s ({of})")
            case "model_fallback":
                return self._page.line(f"… falling back to {clean(item.get('fallback_model'))}")
            case "compact_boundary":
                return self._page.line("… the conversation was compacted")
        return ""

    def _show_limit(self, info: dict[str, Any]) -> str:
        name = clean(info.get("rateLimitType")) or "request"
        if info.get("status") == "allowed_warning":
            return self._page.line(
                f"… {(number(info.get('utilization')) or 0) * 100:.0f} % of the {name} limit is used"
            )
        if info.get("status") != "rejected" or info.get("isUsingOverage"):
            return ""
        at = number(info.get("resetsAt"))
        when = f", resets {_local(at)}" if at else ""
        return self._page.line(f"✗ the {name} limit is reached{when}")

    def _show_result(self, item: dict[str, Any]) -> str:
        turns = count(item.get("num_turns"))
        facts = [
            f"{turns} turn" if turns == 1 else f"{turns} turns",
            f"{(number(item.get('duration_ms')) or 0.0) / 1000:.1f} s",
            f"${price(item.get('total_cost_usd')) or 0.0:.4f}",
        ]
        if item.get("is_error") is not False:
            return self._page.line(f"✗ {one_line(complaint(facts_of(item, '')), 300)} · " + " · ".join(facts))
        # With `--output-format json` the answer stands nowhere else.
        answer = "" if self._answered else self._show_text("", clean(item.get("result")))
        return answer + self._page.line("✓ done · " + " · ".join(facts))


def _said(answer: dict[str, Any]) -> str:
    content = answer.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(text(block.get("text")) for block in items(content))


def _local(at: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(at))
    except (ValueError, OverflowError, OSError):
        return f"at {at:.0f}"
