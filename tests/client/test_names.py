"""Which names of files on the server this machine writes to its disk."""

from __future__ import annotations

import os

import pytest

from dsx.client.errors import Invalid
from dsx.client.names import dataset_path, local_name, local_path


@pytest.mark.parametrize("name", ["a.txt", "ä 日本", ".hidden", "a b#%&"])
def test_names_for_every_system(name: str) -> None:
    assert local_name(f"below/{name}") == name
    assert local_path(f"below/{name}") == f"below/{name}"


@pytest.mark.parametrize("name", ["stream:of", "a?", "a*", "a|b", '"', "<", ">", "dot.", "end "])
def test_names_that_are_other_files_on_windows(name: str) -> None:
    assert dataset_path(name) == name, "a file in memory needs none"
    for check in (local_name, local_path):
        if os.name == "nt":
            with pytest.raises(Invalid, match="on this system"):
                check(name)
        else:
            assert check(name) == name


@pytest.mark.parametrize(
    "path", ["nul", "con.txt", "a/aux/b", "back\\slash", "C:\\a", "\\\\host\\a"]
)
def test_paths_of_datasets_that_are_no_files_on_windows(path: str) -> None:
    """Their names are chosen by the file system they are on; those of stored files never are so."""
    if os.name == "nt":
        with pytest.raises(Invalid):
            local_path(path)
    else:
        assert local_path(path) == path
    with pytest.raises(Invalid):
        local_name(path)
