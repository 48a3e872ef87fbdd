"""What people see of a recording: whole screens, written by hand from the recordings."""

from __future__ import annotations

import pytest

import backends
from backends.base import STDERR, STDOUT
from tests.contract.recordings import load, needs_captures

SCREENS = {
    ("claude", "tool-bash-partial"): """\
I will create a file.
→ Bash: echo made > made.txt; echo OUT; echo ERR >&2; exit 3
  ✗ Exit code 3 ⏎ OUT ⏎ ERR
Done: created made.txt
✓ done · 2 turns · 0.6 s · $0.0027
""",
    # What was shown of the broken answer does not count.
    ("claude", "midstream-overloaded-event-partial"): """\
word word word word word word word word word word word word word word word word word word word w
 [the answer broke off and starts again]
Hello from the fake model.
Second line.
✓ done · 1 turn · 0.7 s · $0.0013
""",
    ("claude", "529-retries2-stream"): """\
… overloaded: trying again in 0.6 s (1 of 2)
… overloaded: trying again in 1.2 s (2 of 2)
✗ API Error: 529 Overloaded. This is a server-side issue, usually temporary — try again in a moment. If it persists, check \
your inference gateway (127.0.0.1:18080). · 1 turn · 1.9 s · $0.0000
""",
    ("claude", "tool-subagent-Task"): """\
→ Task: sub
main answer
✓ done · 2 turns · 0.4 s · $0.0040
""",
    ("claude", "ok-json"): """\
Hello from the fake model.
Second line.
✓ done · 1 turn · 0.3 s · $0.0013
""",
    ("claude", "ok-text"): "Hello from the fake model.\nSecond line.\n",
    ("claude", "err-invalid-flag"): "error: unknown option '--no-such-flag'\n",
    ("codex", "tool-exec-danger-full-access"): """\
I will create a file.
→ shell: echo made > made.txt; echo OUT; echo ERR >&2; exit 3
  ✗ exit code 3 ⏎ OUT ⏎ ERR
Done: created made.txt
✓ done · 2,240 tokens in, 50 out
""",
    ("codex", "tool-apply_patch-bypass-json"): """\
→ edit: add /tmp/work/codex/patched.txt
patched
✓ done · 2,240 tokens in, 50 out
""",
    ("codex", "429-noretry"): "✗ exceeded retry limit, last status: 429 Too Many Requests\n",
    ("gemini", "tool-shell-yolo-stream"): """\
I will create a file.
→ run_shell_command: echo made > made.txt; echo OUT; echo ERR >&2; exit 3
Done: created made.txt
✓ done · 0.4 s · 2,400 tokens in, 50 out
""",
    ("gemini", "finish-SAFETY-stream"): """\
… The model response was blocked due to safety settings.
✗ ended with an error · 7.3 s · 4,800 tokens in, 100 out
""",
    ("opencode", "tool-bash-default-json"): """\
I will create a file.
→ bash: echo made > made.txt; echo OUT; echo ERR >&2; exit 3
  ✗ exit code 3 ⏎ OUT ⏎ ERR
Done: created made.txt
✓ done · 2,240 tokens in, 50 out · $0.0021
""",
    ("opencode", "401-json"): "✗ APIError: Incorrect API key provided\n",
    ("qwen", "ok-stdin-stream"): "Hello from the fake model.\nSecond line.\n✓ done\n",
}
BACKENDS = {
    "claude": "claude_cli",
    "codex": "codex_cli",
    "gemini": "gemini_cli",
    "opencode": "opencode_cli",
    "qwen": "qwen-code",
}


@needs_captures
@pytest.mark.parametrize(("agent", "case"), sorted(SCREENS))
def test_screen(agent: str, case: str) -> None:
    renderer = backends.load(BACKENDS[agent]).renderer()
    recording = load(agent, case)
    shown = "".join(renderer.feed(stream, line) for stream, line in recording.lines()) + renderer.finish()
    assert shown == SCREENS[agent, case]


def test_text_is_shown_as_it_is_generated() -> None:
    """Each piece of an answer is shown when it comes, once."""
    renderer = backends.load("claude_cli").renderer()
    delta = b'{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"%s"}}}'
    start = b'{"type":"stream_event","event":{"type":"message_start","message":{"id":"m1"}}}'
    whole = b'{"type":"assistant","message":{"id":"m1","content":[{"type":"text","text":"Hello"}]}}'
    assert [renderer.feed(STDOUT, line) for line in (start, delta % b"Hel", delta % b"lo", whole)] == [
        "",
        "Hel",
        "lo",
        "\n",
    ]


def test_what_is_no_event_is_shown_as_it_is() -> None:
    renderer = backends.load("claude_cli").renderer()
    assert renderer.feed(STDOUT, b"plain words") == "plain words\n"
    assert renderer.feed(STDOUT, b'{"half": ') == '{"half": \n'
    assert renderer.feed(STDERR, b"a warning") == "a warning\n"
    assert renderer.feed(STDOUT, b'{"type":"system","subtype":"thinking_tokens"}') == ""
