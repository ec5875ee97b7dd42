"""Names under which files may be stored: those that any system can write."""

from __future__ import annotations

import pytest

from dsx.core import names
from dsx.core.errors import Invalid
from dsx.core.names import check_file_name, check_stored_name

DEVICES = ["CON", "con ", "CON .txt", "con. ", "nul.", "nul", "NUL.tar.gz", "aux  .x", "COM1"]
DEVICES += ["lpt³", "Conin$", "CONOUT$.txt", "prn .", "com¹.txt"]
OTHERS = ["a:b", "a:", "C:", 'a"b', "a<b", "a>b", "a|b", "a?", "*", "a.", "a ", "a. .", "...", " "]
GOOD = ["console", "con-1", "a.con", ".con", "nul_", "com", "com10", "lpt", ".a", " a", "a b"]
GOOD += ["CONfig", "conin", "a..b", "~", "$", "%", "#", "a^b", "日本", "auxiliary/nullable"]
GOOD += ["ä;=,+[]{}'"]
NEVER = ["", ".", "..", "a//b", "/a", "a\\b", "a\0", "\udc80", "con", "x" * 256]


@pytest.mark.parametrize("name", DEVICES + OTHERS)
@pytest.mark.parametrize("where", ["{}", "below/{}", "{}/below"])
def test_names_that_some_system_cannot_write(name: str, where: str) -> None:
    with pytest.raises(Invalid):
        check_file_name(where.format(name))


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("where", ["{}", "below/{}", "{}/below"])
def test_names_that_all_can(name: str, where: str) -> None:
    assert check_file_name(where.format(name)) == where.format(name)


@pytest.mark.parametrize("name", ["a:b", "a.", "a ", "CON .txt", "what?", "a*"])
def test_names_from_before_are_names_still(name: str) -> None:
    assert check_stored_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a//b", "/a", "a\\b", "a\0", "\udc80", "con", "x" * 256]
)
def test_names_that_never_were(name: str) -> None:
    for check in (check_file_name, check_stored_name):
        with pytest.raises(Invalid):
            check(name)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain \u00e9 \U0001f469\u200d\U0001f4bb", "plain \u00e9 \U0001f469\u200d\U0001f4bb"),
        ("a\u202egpj", "a\\u202egpj"),
        ("\x1b[31m\n\x9b", "\\x1b[31m\\n\\x9b"),
        ("a\udcff", "a\\xff"),
        ("\ud800", "\\ud800"),
    ],
)
def test_d7_what_a_terminal_would_obey_is_shown(text: str, seen: str) -> None:
    assert names.shown(text) == seen


def test_d7_names_in_each_others_way() -> None:
    assert names.in_the_way(["a/b/c", "x", "a/b"]) == ("a/b", "a/b/c")
    assert names.in_the_way(["a", "ab/c", "a b/c", "a", "b/a"]) is None
