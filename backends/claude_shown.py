"""Claude Code's lines for people: text as it is generated, tool calls, what went wrong, what it cost.

Called by `claude_cli`, for whoever follows a log.
"""

from __future__ import annotations

import time
from typing import Any

from backends.base import STDERR
from backends.claude_errors import complaint, facts_of
from backends.records import count, decoded, items, number, parse, price, section, text
from backends.rendering import Owed, Page, call, clean, one_line, trouble

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


#: Characters of streamed text that are kept to be compared with the full message; of more, only the loss is known.
_COMPARED = 4 * 1024 * 1024
BROKE_OFF = "[the answer broke off and starts again]"
DIFFERS = "[the answer reads differently in the end]"


class Streamed:
    """What of the message that is being generated has been shown, and no full message has confirmed: its texts in order."""

    def __init__(self) -> None:
        self.id = ""
        self.whole = False
        """Its end was seen: that nothing confirms it does not mean that it broke off."""
        self._texts: list[list[str]] = []
        self._length = 0

    def begin(self, id: str) -> None:
        self.__init__()  # type: ignore[misc]
        self.id = id

    def begin_text(self) -> None:
        self._texts.append([])

    def add(self, words: str) -> None:
        if not self._texts:
            self.begin_text()
        self._length += len(words)
        if self._length <= _COMPARED:
            self._texts[-1].append(words)

    def is_cut(self) -> bool:
        """Something was shown that has no end."""
        return not self.whole and any(words.strip() for text in self._texts for words in text)

    def take(self) -> str | None:
        """The first text that is not confirmed yet; None when there is none, or too much of it to compare."""
        while self._texts:
            words = "".join(self._texts.pop(0))
            if words.strip():
                return words
        return None

    def is_shown(self) -> bool:
        return any(any(text) for text in self._texts)


class ClaudeRenderer:
    """Text as it is generated, one line for each tool call, what went wrong, and how it ended."""

    def __init__(self) -> None:
        self._page = Page()
        self._owed = Owed(self._page)
        self._streamed = Streamed()
        self._last = ""
        """The last text of the agent itself: the result says it once more."""
        self._returned = False

    def feed(self, stream: str, line: bytes) -> str:
        if stream == STDERR or line[:1] not in (b"{", b"["):
            return self._page.line(clean(decoded(line)))
        value = parse(line)
        if isinstance(value, list):
            return "".join(self._show_one(item) for item in items(value))
        if not isinstance(value, dict) or "type" not in value:
            return self._page.line(clean(decoded(line)))
        return self._show_one(value)

    def finish(self) -> str:
        return self._owed.finish()

    def _show_one(self, item: dict[str, Any]) -> str:
        if item.get("type") == "stream_event" and section(item, "event").get("type") != "error":
            # Most of what there is, and nothing that could be owed.
            return self._show_delta(item)
        return self._owed.before(lambda: self._show(item), _said_of(item))

    def _show(self, item: dict[str, Any]) -> str:
        match item.get("type"):
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
        match event.get("type"):
            case "message_start":
                void = self._void()
                self._streamed.begin(text(section(event, "message").get("id")))
                return void
            case "message_stop":
                self._streamed.whole = True
            case "content_block_start" if section(event, "content_block").get("type") == "text":
                self._streamed.begin_text()
                fresh = self._page.fresh()
                return fresh + self._stream(clean(section(event, "content_block").get("text")))
        return self._stream(self._words(section(event, "delta")))

    def _words(self, delta: dict[str, Any]) -> str:
        """Its text; a newline that is cut from its carriage return is no second one."""
        raw = text(delta.get("text"))
        words = clean(raw[1:] if self._returned and raw.startswith("\n") else raw)
        if raw:
            self._returned = raw.endswith("\r")
        return words

    def _stream(self, words: str) -> str:
        if words:
            self._streamed.add(words)
        return self._page.stream(words)

    def _void(self) -> str:
        """The stream broke and the answer is asked for again: what was shown of it does not count."""
        cut = self._streamed.is_cut()
        self._streamed.begin("")
        return self._page.line(" " * self._page.midline + BROKE_OFF) if cut else self._page.fresh()

    def _show_message(self, item: dict[str, Any]) -> str:
        indent = "  " if item.get("parent_tool_use_id") else ""
        message = section(item, "message")
        if item.get("error"):
            # Not the model's words; the result says them again, or else they are owed.
            return self._void()
        shown = "" if indent else self._turn_to(text(message.get("id")))
        content = message.get("content")
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else items(content):
            if block.get("type") == "text":
                shown += self._show_text(indent, clean(block.get("text")))
            elif block.get("type") in ("tool_use", "server_tool_use", "mcp_tool_use"):
                words = call(clean(block.get("name")), section(block, "input"), _TELLING)
                shown += self._page.line(f"{indent}→ {words}")
        return shown

    def _turn_to(self, id: str) -> str:
        """Before a full message: another one that was streamed broke off. One whose beginning was not seen is this one."""
        if not self._streamed.is_shown() or self._streamed.id in ("", id):
            return ""
        return self._void()

    def _show_text(self, indent: str, words: str) -> str:
        if indent:
            return self._page.line(indent + words.replace("\n", "\n" + indent)) if words.strip() else ""
        if words.strip():
            self._last = words
        elif not words:
            return ""
        shown = self._streamed.take()
        if shown is None:
            return self._page.line(words) if words.strip() else ""
        return self._confirm(shown, words)

    def _confirm(self, shown: str, words: str) -> str:
        """The full text of what was shown as it was generated: what of it is new."""
        if words == shown or (not self._streamed.id and words.endswith(shown)):
            return self._page.fresh()
        if not words.startswith(shown):
            return self._page.line(DIFFERS) + self._page.line(words)
        rest = words[len(shown) :]
        if self._streamed.is_shown():
            return self._page.line("…" + rest)
        return self._page.stream(rest) + self._page.fresh()

    def _show_answers(self, item: dict[str, Any]) -> str:
        indent = "    " if item.get("parent_tool_use_id") else "  "
        content = section(item, "message").get("content")
        if isinstance(content, str):
            return self._page.line(f"{indent}{one_line(content)}") if content.strip() else ""
        failed = (each for each in items(content) if each.get("type") == "tool_result" and each.get("is_error"))
        return "".join(self._page.line(f"{indent}✗ {one_line(_said(each)) or 'failed'}") for each in failed)

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
            said = one_line(complaint(facts_of(item, "")), 300) or one_line(trouble(item), 300)
            return self._page.line(f"✗ {said} · " + " · ".join(facts))
        return self._show_answer(clean(item.get("result"))) + self._page.line("✓ done · " + " · ".join(facts))

    def _show_answer(self, words: str) -> str:
        """The result, unless it is what was shown last. With `--output-format json` it stands nowhere else."""
        last = "".join(self._last.split()) or "".join((self._streamed.take() or "").split())
        said = "".join(words.split())
        if not said or said == last or (last and said.endswith(last) and not self._streamed.id):
            return ""
        return self._page.line(words)


def _said_of(item: dict[str, Any]) -> str:
    """What an item says went wrong: of an answer that is none its words, which tell more than the error's name."""
    if item.get("type") != "assistant":
        return trouble(item)
    words = _said(section(item, "message")) if item.get("error") else ""
    return words or (trouble({"error": item["error"]}) if item.get("error") else "")


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
