"""The mask: what is found, what is not, and that chunks never change the result."""

from __future__ import annotations

import json
import os
import re
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ipc.errors import MozartError
from workers import formats
from workers.mask import CONTEXT, Mask, preload, secret_values
from workers.scan import MAX_HELD

VALUE = "Tr0ub4dor&3-correct"
OVERLAPPING = "correct-horse"
LONG_VALUE = "battery.staple/" * 30

KEY = """-----BEGIN RSA PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF

MIIEpAIBAAKCAQEAr8xZmQ1Pl5Jv0b6xkV6f1n2oQzC8eD5tHq3yWm9sRk4uLb7T
c2FtcGxlIGtleSBtYXRlcmlhbCwgbm90IGEgcmVhbCBvbmUgYXQgYWxsIQ==
-----END RSA PRIVATE KEY-----"""

#: kind → samples: made up, in the shape of the real ones.
KEYS: dict[str, list[str]] = {
    "anthropic": ["sk-ant-api03-" + "aB3_x-" * 15 + "AA", "sk-ant-oat01-" + "Zz9-" * 20],
    "openai": ["sk-" + "a1B2" * 12, "sk-proj-" + "aB3_x-" * 20, "sk-svcacct-" + "Q7" * 40],
    "openrouter": ["sk-or-v1-" + "0123456789abcdef" * 4],
    "google": ["AIza" + "SyD-9_kLm0" * 3 + "abcde", "ya29." + "a0Af_B-yC" * 8, "GOCSPX-" + "abcd-EF_gh12" * 2 + "abcd"],
    "github": ["ghp_" + "A1b2" * 9, "gho_" + "A1b2" * 9, "ghs_" + "A1b2" * 9, "github_pat_11" + "ABCDE_fgh" * 9],
    "gitlab": ["glpat-" + "aB3_x-" * 3 + "zz", "glrt-" + "aB3_x-" * 4, "glpat-" + "aB3_x-" * 4 + ".01.0w1abcdef"],
    "aws": ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPL2"],
    "slack": ["xoxb-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx", "xapp-1-A0123-456-abcdef0123456789"],
    "npm": ["npm_" + "a1B2" * 9],
    "pypi": ["pypi-AgEIcHlwaS5vcmc" + "CJGFiY2_-" * 10],
    "huggingface": ["hf_" + "aBcD" * 9],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"],
    "private-key": [KEY.replace("\n", "\\n")],
}
SAMPLES = [(kind, sample) for kind, samples in KEYS.items() for sample in samples]

MASK = Mask((), [VALUE, OVERLAPPING, LONG_VALUE])
USER_MASK = Mask((r"ACME-[0-9]{6,8}", r"(?<=pin: )\d{4}\b"), [VALUE])


def masked(text: str, mask: Mask = MASK) -> str:
    return mask.apply(text.encode()).decode()


# ---- what is found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "sample"), SAMPLES)
@pytest.mark.parametrize(
    "around", ["{}", "before {} after", 'x = "{}",', '{{"text":"a\\n{}\\nb"}}', "https://{}@host/\r"]
)
def test_a_key_is_masked_wherever_it_stands(kind: str, sample: str, around: str) -> None:
    assert masked(around.format(sample) + "\nnext\n") == around.format(f"[masked:{kind}]") + "\nnext\n"


def test_an_aws_secret_is_masked_beside_its_name() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    assert masked(f"aws_secret_access_key = {secret}\n") == "[masked:aws]\n"
    assert masked(f'"SecretAccessKey": "{secret}"\n') == '"[masked:aws]"\n'


@pytest.mark.parametrize(
    "text",
    [
        "risk-assessment-documentation-overview-of-everything",
        "task-force sk-short disk-encryption-key-management-service",
        "ghp_tooshort, AKIASHORT, npm_install_something_or_other_package",
        "eyJ is how base64 of {\" begins; eyJhbGciOiJIUzI1NiJ9 alone is a header",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "commit 5d1de0c7e0b1a2f3c4d5e6f708192a3b4c5d6e7f",
        "AIzaShort AIza not a key",
    ],
)  # fmt: skip
def test_what_only_resembles_a_key_stays(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    ("prefix", "newline"), [("", "\n"), ("", "\r\n"), ("    ", "\n"), ("> ", "\n"), ("  12\t", "\n"), ("12→", "\n")]
)
def test_a_private_key_is_masked_over_its_lines(prefix: str, newline: str) -> None:
    text = "".join(f"{prefix}{line}{newline}" for line in ["before", *KEY.split("\n"), "after"])
    lines = masked(text).split(newline)
    assert lines[0] == prefix + "before"
    assert lines[-2:] == [prefix + "after", ""]
    assert all(line.strip(" >\t12→\r") in ("[masked:private-key]", "before", "after", "") for line in lines)
    assert not [part for part in KEY.split("\n") if part and part in masked(text)]


def test_the_mere_marker_of_a_key_masks_nothing_else() -> None:
    text = 'if "-----BEGIN PRIVATE KEY-----" in text:\n    raise ValueError(text)\n'
    assert masked(text) == 'if "[masked:private-key]" in text:\n    raise ValueError(text)\n'


def test_a_key_that_never_ends_is_followed_for_so_many_lines() -> None:
    text = "-----BEGIN PRIVATE KEY-----\n" + "word\n" * (formats.KEY_LINES + 3)
    assert masked(text) == "[masked:private-key]\n" * (formats.KEY_LINES + 1) + "word\n" * 3


def test_a_value_is_masked_as_it_is_and_in_json() -> None:
    value = 'line "one"\\of\nthe secret\nxy'
    mask = Mask((), [value])
    assert masked(f"<{value}>", mask) == "<[masked:secret]\n[masked:secret]\nxy>"
    assert masked(json.dumps({"env": value}), mask) == '{"env": "[masked:secret]"}'
    assert masked(json.dumps("pässword"), Mask((), ["pässword"])) == '"[masked:secret]"'


@pytest.mark.parametrize("value", ["", "short", "true", "        ", "aaaaaaaaaaaaaaaa", "********"])
def test_trivial_values_are_no_secrets(value: str) -> None:
    assert masked(f"a {value} b", Mask((), [value])) == f"a {value} b"


def test_overlapping_secrets_leave_nothing_between() -> None:
    assert masked(VALUE[:-7] + OVERLAPPING + "!") == "[masked:secret]!"
    assert masked("AKIAIOSFODNN7EXAMPLE" + VALUE + "!") == "[masked:aws][masked:secret]!"


def test_which_variables_hold_secrets() -> None:
    environment = {
        "ANTHROPIC_API_KEY": "1", "GITHUB_TOKEN": "2", "DB_PASSWORD": "3", "CLIENT_SECRET": "4",
        "aws_secret_access_key": "5", "GH_PAT": "6", "OPENAI_APIKEY": "7", "PGPASSWORD": "8", "NPM_TOKENS": "9",
        "MY_CREDENTIALS": "10", "SECRET_SAUCE": "11",
        "PATH": "-", "PWD": "-", "OLDPWD": "-", "HOME": "-", "KEYBOARD": "-", "SSL_KEY_FILE": "-",
        "TOKENIZERS_PARALLELISM": "-",
        "GOOGLE_APPLICATION_CREDENTIALS_PATH": "-", "SSH_AUTH_SOCK": "-", "AWS_ACCESS_KEY_ID": "-",
    }  # fmt: skip
    assert secret_values(environment) == [str(n) for n in range(1, 12)]


def test_a_users_pattern_is_masked_within_a_line() -> None:
    assert (
        masked("ACME-1234567 pin: 1234\npin: 12345\n", USER_MASK)
        == "[masked:pattern] pin: [masked:pattern]\npin: 12345\n"
    )
    assert masked("a<b\nc>d <e>", Mask((r"<[^>]*>",))) == "a<b\nc>d [masked:pattern]"
    assert masked("nothing", Mask(("x*",))) == "nothing"


def test_a_pattern_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(MozartError, match=re.escape("cannot use the mask pattern '(oops'")):
        Mask(("(oops",))


# ---- chunks ---------------------------------------------------------------------------------------------------------

SECRETS = [sample for _, sample in SAMPLES] + [KEY, KEY.replace("\n", "\r\n"), VALUE, OVERLAPPING, LONG_VALUE]
FILLERS = [
    *(
        "\n",
        " ",
        "a",
        "-",
        "sk-",
        "gh",
        "ghp_",
        "eyJ",
        "AKIA",
        "-----",
        "-----BEGIN ",
        KEY[:31],
        KEY[-29:],
        "word\n",
        "MIIE\n",
    ),
    *("\\n", "\r", '"', "é", "→", VALUE[:5], VALUE[:-1], OVERLAPPING[:3], LONG_VALUE[:100], "x" * 70),
]

texts = st.lists(st.sampled_from(SECRETS + FILLERS * 2), max_size=12).map(lambda parts: "".join(parts).encode())
cuts = st.lists(st.integers(0, 4000), max_size=12)


def chunks(text: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(n, len(text)) for n in at), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def in_chunks(mask: Mask, pieces: list[bytes], *, hasten: bool = False) -> bytes:
    stream = mask.stream()
    out = b""
    for piece in pieces:
        out += stream.feed(piece)
        if hasten:
            out += stream.hasten()
    return out + stream.finish()


def runs(secret: str) -> set[str]:
    """Every eight characters in a row that are not the format's public beginning."""
    return {secret[n : n + 8] for n in range(12, len(secret) - 8)}


@given(texts, cuts)
def test_chunks_do_not_change_the_result(text: bytes, at: list[int]) -> None:
    assert in_chunks(MASK, chunks(text, at)) == MASK.apply(text)


@given(texts, cuts)
def test_sifted_texts_are_what_log_takes(text: bytes, at: list[int]) -> None:
    stream = MASK.stream()
    for piece in chunks(text, at):
        for block, start, stop in stream.sift(piece):
            assert start in (0, block.find(b"\n") + 1)
            assert b"\n" not in block[stop:]


@given(texts)
def test_single_bytes_do_not_change_the_result(text: bytes) -> None:
    assert in_chunks(MASK, [text[n : n + 1] for n in range(len(text))]) == MASK.apply(text)


@given(texts.map(lambda text: text + b"\n"), cuts)
def test_chunks_do_not_change_the_result_with_users_patterns(text: bytes, at: list[int]) -> None:
    text = text.replace(b"a", b"ACME-1234567").replace(b"x", b"pin: 1234")
    assert in_chunks(USER_MASK, chunks(text, at)) == USER_MASK.apply(text)


@given(texts, cuts, st.integers(MAX_HELD - 300, MAX_HELD + 300))
def test_chunks_do_not_change_the_result_in_endless_lines(text: bytes, at: list[int], length: int) -> None:
    text = b"." * length + text.replace(b"\n", b"") + b"-" * length + text
    at = [length + n for n in at] + [2 * length + n for n in at]
    assert in_chunks(MASK, chunks(text, at)) == MASK.apply(text)


@given(st.sampled_from([s for _, s in SAMPLES] + [VALUE, LONG_VALUE]), st.sampled_from(FILLERS), cuts)
@example("ghp_" + "A1b2" * 9, "g", [1, 3])
def test_hasty_output_shows_no_secret(secret: str, before: str, at: list[int]) -> None:
    text = (before + secret + " end").encode()
    shown = in_chunks(MASK, chunks(text, at), hasten=True).decode()
    assert not [run for run in runs(secret) if run in shown.removeprefix(before)]
    assert "[masked:" in shown


@given(texts, cuts)
def test_hasty_output_shows_no_secret_of_many(text: bytes, at: list[int]) -> None:
    whole = MASK.apply(text)
    shown = in_chunks(MASK, chunks(text, at), hasten=True)
    for secret in SECRETS:
        for run in runs(secret):
            assert run.encode() not in shown or run.encode() in whole


@given(texts)
def test_no_secret_is_left(text: bytes) -> None:
    shown = MASK.apply(text)
    for secret in [*(sample for _, sample in SAMPLES), VALUE, OVERLAPPING, LONG_VALUE]:
        assert secret.encode() not in shown


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_other_bytes_pass_unchanged(text: bytes, at: list[int]) -> None:
    assume(MASK.apply(text) == text)
    assert in_chunks(MASK, chunks(text, at), hasten=True) == text


@pytest.mark.parametrize("prompt", ["Working...", "Password: ", "Continue? [y/N] ", "Installing dependencies", "→ "])
def test_a_prompt_is_shown_at_once(prompt: str) -> None:
    stream = MASK.stream()
    assert stream.feed(prompt.encode()) == b""
    assert stream.hasten() == prompt.encode()
    assert not stream.holds


def test_an_endless_line_is_not_kept() -> None:
    stream = MASK.stream()
    given_out = sum(len(stream.feed(b"0123456789abcdef" * 4096)) for _ in range(40))
    assert given_out > 39 * 65536 - MAX_HELD
    assert len(stream._line) <= MAX_HELD + CONTEXT


def test_an_endless_secret_is_not_kept_either() -> None:
    """Matches that overlap for ever are one secret."""
    mask = Mask((), ["abcdabcd"])
    assert in_chunks(mask, [b"<"] + [b"abcd" * 20000] * 5 + [b">"]) == b"<[masked:secret]>"
    stream = mask.stream()
    for _ in range(10):
        stream.feed(b"abcd" * 20000)
        assert len(stream._line) <= MAX_HELD


# ---- the table ------------------------------------------------------------------------------------------------------


def test_every_format_is_found_by_the_scanner_where_the_expression_finds_it() -> None:
    """`enough` (Hyperscan) must see whatever `starts` and `rest` (re) match."""
    for kind, sample in SAMPLES:
        if kind != "private-key":
            hits = MASK.hits(sample.encode())
            assert kind in {formats.FORMATS[number].kind for number, _ in hits if number < len(formats.FORMATS)}


def test_a_forked_process_uses_what_was_compiled_before() -> None:
    preload()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if masked(KEYS["github"][0]) == "[masked:github]" else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_starts_are_within_the_context() -> None:
    """A public start may be shown before the secret; the mask must still see it then."""
    assert max(len(start) for entry in formats.FORMATS for start in entry.starts) < CONTEXT
