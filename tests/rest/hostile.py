"""Three hundred hostile names: traversal in every encoding, NUL, lengths, scripts, devices."""

from __future__ import annotations

from itertools import product

_TRAVERSAL = [
    up + separator + target
    for up, separator, target in product(
        ["..", "../..", "%2e%2e", "%2E.", "..%00", "%252e%252e", "..;", "．．", "․․", "a/../.."],
        ["/", "\\", "%2f", "%5c", "%252f", "／", "∕", "//"],
        ["etc/passwd", "secret.txt"],
    )
]
_ABSOLUTE = [
    "/etc/passwd", "//etc/passwd", "///", "/", "//", "\\", "C:\\Windows\\win.ini", "C:/x", "c:x",
    "\\\\server\\share", "file:///etc/passwd", "~/x", "~root/.ssh/id_rsa", "/proc/self/environ",
    "/dev/null", "./x", "x/.", "x/..", ".", "..", "...", "....//x", "a//b", "a/./b", "a/", "/a",
]  # fmt: skip
_CONTROL = [f"a{chr(code)}b" for code in [*range(32), 127]]
_NUL = ["\0", "\0.txt", "a.txt\0.png", "../\0", "a/\0/b"]
_LENGTH = [
    "a" * 255, "a" * 256, "a" * 4096, "é" * 127, "é" * 128, "😀" * 63 + "abc", "😀" * 64,
    "/".join(["d" * 50] * 20), "/".join(["d" * 50] * 30), "/".join("x" * 500), "." * 255,
]  # fmt: skip
_UNICODE = [
    "emoji 🎉.png", "👩‍👩‍👧‍👦", "שלום.txt", "مرحبا.txt", "\u202etxt.exe", "\u2066x\u2069", "é.txt",
    "e\u0301.txt", "Å", "A\u030a", "ﬁ.txt", "ß", "İ", "ı", "K", "日本語/データ.csv", "한글", "ะ",
    "\u200b", "\u200d", "\ufeff", "\ufffe", "\uffff", "\U0010ffff", "a\u0300" * 30, "\u00a0", "　",
    "\u2028", "\u2029", "\u0085",
]  # fmt: skip
_DEVICES = [
    stem + tail
    for stem, tail in product(
        ["CON", "con", "PRN", "AUX", "NUL", "nul", "COM1", "LPT9", "COM¹"], ["", ".txt", ".", " "]
    )
]
_SHELL = [
    "-rf", "--help", "$(id)", "`id`", "; rm -rf /", "| cat", "&& id", "> x", "*", "?", "[a-z]",
    "{a,b}", "'", '"', "a'b", 'a"b', "<script>alert(1)</script>", "%", "%%", "%s%n", "%00", "%zz",
    "a%20b", "a+b", "a b", " a", "a ", ".hidden", "a.", "a..", "#", "a#b", "a?b", "a&b=c", "a;b",
    "a:b", "a::$DATA", "robots.txt", "index.html", "x.svg", "Robert'); DROP TABLE files;--",
    "${jndi:ldap://x}", "{{7*7}}",
    "\u00ff\u00fe", ".git/config", ".dsx-cache.db", "x_manifest.json",
]  # fmt: skip

HOSTILE = [*_TRAVERSAL, *_ABSOLUTE, *_CONTROL, *_NUL, *_LENGTH, *_UNICODE, *_DEVICES, *_SHELL]
