"""Globs mean what fnmatch means; hostile patterns are quick or refused."""

from __future__ import annotations

import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsx.catalog.matching import (
    glob_matcher,
    literal_prefix,
    regex_matcher,
    successor,
    unescape,
)
from dsx.core.errors import Unprocessable

_text = st.text(st.sampled_from("ab-z[]!*?^\\/.{}()|&~é\U0010ffff\n"), max_size=12)


@given(_text, _text)
def test_a_glob_means_what_fnmatch_means(pattern: str, name: str):
    wanted = fnmatch.fnmatchcase(name, pattern)
    assert bool(glob_matcher(pattern)(name)) == wanted
    exact = unescape(pattern)
    if exact is not None:
        assert (name == exact) == wanted


@given(_text, st.text(max_size=5))
def test_what_a_glob_matches_lies_in_its_range(pattern: str, tail: str):
    prefix = literal_prefix(pattern)
    name = prefix + tail
    end = successor(prefix)
    assert prefix.encode() <= name.encode()
    assert end is None or name.encode() < end.encode()


@given(_text)
def test_nothing_in_a_globs_range_lacks_its_prefix(name: str):
    for prefix in ("a", "a\U0010ffff", "\ud7ff"):
        if prefix <= name < (successor(prefix) or name + "a"):
            assert name.startswith(prefix)


EVIL = [
    *(f"{a}{b}" for a in ("(a+)+", "(a|a)*", "(a*)*", "(.*)*", "(a|aa)+") for b in ("$", "b", "!")),
    *(f"(.*{c}){{{n}}}" for c in "xa" for n in (11, 50, 100, 1000)),
    *("(x{1,1000}){1,1000}", "((a{100}){100}){100}", "a{1001}", "a{1000}", "(a?){500}a{500}"),
    *(".*" * 300 + "x", "(" * 400 + "a" + ")" * 400, "(" * 999, "[" * 999, "a|" * 499 + "b"),
    *(r"\pL" * 300, r"[\pL\pN]{1000}", r"\p{Greek}{900}!", "(?i)" + "ß" * 900, "." * 1000),
    *(r"(?=a)b", r"(?!a)b", r"(?<=a)b", r"(?<!a)b", r"(a)\1", r"(?P<n>a)(?P=n)", r"(?>a)"),
    *("a" * 1001, "*", "a**", "a{2,1}", "(?z)", r"\8", "[z-a]", "(?P<1>a)", "[[:nope:]]", "\\"),
]


@pytest.mark.parametrize("pattern", EVIL, ids=range(len(EVIL)))
def test_an_evil_pattern_is_quick_or_refused(pattern: str):
    start = time.thread_time()
    try:
        match = regex_matcher(pattern)
    except Unprocessable:
        pass
    else:
        for name in ("a" * 1000, "é" * 500, "aé" * 300 + "!"):
            match(name)
    assert time.thread_time() - start < 0.05


@pytest.mark.parametrize("pattern", [r"(?=a)b", r"(a)\1", "(", "a\0", "\ud800", "a" * 1001])
def test_a_refusal_says_why(pattern: str):
    with pytest.raises(Unprocessable) as caught:
        regex_matcher(pattern)
    assert caught.value.details["field"] == "regex"
    assert caught.value.details["reason"]
