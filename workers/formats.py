"""The key formats that are masked wherever they appear, as a table. Data only: `workers.scan` looks for them.

Each format begins with a literal that is public and telling (`ghp_`, `sk-ant-`): the scanner is fast because of it, and
an unfinished line may be shown up to it. Lengths are bounded, so that it is known how much of an unfinished line must
wait. No format spans lines; a private key's block does, and is followed line by line in `workers.keyblock`.
"""

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    kind: str
    """Names what was masked: `[masked:<kind>]`."""
    starts: tuple[bytes, ...]
    rest: bytes
    """Regular expression of what follows a start, as much of it as belongs to the secret; or a group of it is the secret."""
    enough: bytes
    """As `rest`, but the least that makes a match, and in Hyperscan's syntax: it reports every end, so there is one."""
    within: bytes
    """The bytes that may occur after a start, as a class: an unfinished line waits while only these follow one."""


def _token(kind: str, starts: tuple[bytes, ...], alphabet: bytes, least: int, most: int = 1024) -> Format:
    rest = b"[%s]{%d,%d}" % (alphabet, least, most)
    return Format(kind, starts, rest, b"[%s]{%d}" % (alphabet, least), b"[%s]" % alphabet)


_ALNUM = b"A-Za-z0-9"
_URL64 = b"A-Za-z0-9_-"
_AWS_GLUE = rb"""["'\\ \t]{0,4}[:=][>"'\\ \t]{0,4}"""

FORMATS: tuple[Format, ...] = (
    _token("anthropic", (b"sk-ant-",), _URL64, 20),
    _token("openai", (b"sk-proj-", b"sk-svcacct-", b"sk-admin-", b"sk-None-"), _URL64, 20),
    # Also what many others took over from OpenAI. No hyphens: `task-`, `risk-` and `disk-` begin many harmless names.
    _token("openai", (b"sk-",), _ALNUM, 32),
    _token("openrouter", (b"sk-or-v1-",), b"a-f0-9", 32),
    _token("google", (b"AIza",), _URL64, 35, 35),
    _token("google", (b"ya29.", b"GOCSPX-"), b"." + _URL64, 20),
    _token("google", (b"AQ.Ab",), _URL64, 30),
    _token("github", (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"), _ALNUM, 36),
    _token("github", (b"github_pat_",), _ALNUM + b"_", 22),
    _token(
        "gitlab",
        tuple(b"gl%s-" % name for name in b"pat oas dt rt rtr cbt ptt ft imt agent soat ffct wt".split()),
        b"." + _URL64,
        20,
    ),
    _token("aws", (b"AKIA", b"ASIA", b"ABIA", b"ACCA"), b"A-Z0-9", 16, 16),
    Format(
        "aws",
        (b"aws_secret_access_key", b"AWS_SECRET_ACCESS_KEY", b"SecretAccessKey", b"secretAccessKey"),
        _AWS_GLUE + b"[A-Za-z0-9/+]{40}",
        _AWS_GLUE + b"[A-Za-z0-9/+]{40}",
        rb"""[A-Za-z0-9/+"'\\ \t:=>]""",
    ),
    _token("slack", (*(b"xox%c-" % letter for letter in b"abcdeoprs"), b"xoxe."), _ALNUM + b"%./+=_-", 10),
    _token("slack", (b"xapp-",), _ALNUM + b"-", 10),
    _token("slack", (b"hooks.slack.com/services/", b"hooks.slack.com/workflows/"), _ALNUM + b"/_", 20),
    _token("npm", (b"npm_",), _ALNUM, 36),
    _token("pypi", (b"pypi-AgE",), _URL64, 50),
    _token("huggingface", (b"hf_",), _ALNUM, 34),
    _token("groq", (b"gsk_",), _ALNUM, 48),
    _token("xai", (b"xai-",), _ALNUM, 64),
    _token("stripe", (b"sk_live_", b"rk_live_", b"sk_test_", b"rk_test_", b"whsec_"), _ALNUM, 24),
    _token("docker", (b"dckr_pat_", b"dckr_oat_"), _URL64, 20),
    # Of an address only what stands between the user and the host.
    Format(
        "password",
        (b"://",),
        rb"""[^\s/:@"'<>\\]{0,128}:([^\s/@"'<>\\]{3,512}+)@""",
        # Without bounds, which Hyperscan would count at the cost of all that is scanned.
        rb"""[^\s/@"'<>\\]+@""",
        rb"""[^\s/@"'<>\\]""",
    ),
    Format(
        "jwt",
        (b"eyJ",),
        # The header's length is what a hostile line of nothing but beginnings costs, for each of them.
        rb"[A-Za-z0-9_-]{8,512}+\.eyJ[A-Za-z0-9_-]{8,8192}+\.[A-Za-z0-9_-]{8,2048}",
        rb"[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8}",
        b"[A-Za-z0-9_.-]",
    ),
)  # fmt: skip

#: A private key's block: where it begins and ends, and how its lines look (bare, indented, quoted or numbered).
KEY_START = b"-----BEGIN "
KEY_BEGIN = KEY_START + rb"(?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
KEY_END = rb"-----END (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
#: How far on one line (as in JSON) an end may be from its beginning, and how much of a block without one is masked.
KEY_REACH = 16384
#: What goes on behind a beginning whose end is not on the same line.
KEY_BODY = rb"(?:[A-Za-z0-9+/= \t]|\\[nrt\\]){0,%d}+" % KEY_REACH
#: A line of a block that began on an earlier one; it ends somewhere before KEY_LINE_MOST.
KEY_LINE = (
    rb"[ \t>|#*]{0,16}(?:[0-9]{1,6}[ \t|:>\xe2\x86\x92]{1,8})?"
    rb"(?:[A-Za-z0-9+/=]{0,1024}|[A-Za-z-]{1,32}: [^\n]{0,256})[ \t]{0,8}"
)
KEY_LINE_MOST = 2048
KEY_LINES = 512

#: No match of anything above is longer, its start included: how much of an unfinished line may have to wait.
LONGEST = KEY_REACH + 256
