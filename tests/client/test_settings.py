"""Wrong settings are a `DSXError` of one sentence, and no sentence has a secret in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.hub import RunningHub

from dsx import DatasetHubClient, DSXError
from dsx.client import errors

URL = "http://127.0.0.1:1"
SECRET = "dsx_SecretSecretSecretSecretSecretSecret"


def test_a_key_read_from_its_file(hub: RunningHub, tmp_path: Path) -> None:
    """Issue 9, section 4: `DatasetHubClient(B, open("admin.key").read())`."""
    file = tmp_path / "admin.key"
    file.write_text(f"{hub.key}\n")
    for key in (file.read_text(), file.read_bytes(), f"  {hub.key}\r\n"):
        with DatasetHubClient(f" {hub.url}/ ", key) as client:  # type: ignore[arg-type]
            assert client.accounts.whoami().username == "admin"


@pytest.mark.parametrize(
    "key",
    [
        f"{SECRET}\nanother line",
        f"{SECRET}\0",
        f"{SECRET}\u6f22",
        SECRET.encode() + b"\n\n" + b"x",
        Path(SECRET),
        (SECRET,),
        ("name", 5),
        12,
    ],
)
def test_a_wrong_key(key: Any) -> None:
    with pytest.raises(errors.Invalid) as caught:
        DatasetHubClient(URL, key)
    assert SECRET not in str(caught.value)
    assert "api_key" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "hub.lab:8000",
        "hub.lab",
        "ftp://hub.lab",
        "http://",
        "http://:80",
        "http://hub.lab:port",
        "http://hub.lab:99999",
        "http://hub lab",
        "http://[::1",
        f"http://name:{SECRET}@hub.lab",
        f"http://hub.lab/?key={SECRET}",
        "http://hub.lab#",
        SECRET,  # somebody took one argument for the other
        None,
        b"http://hub.lab",
    ],
)
def test_a_wrong_url(url: Any) -> None:
    with pytest.raises(errors.Invalid) as caught:
        DatasetHubClient(url, SECRET)
    assert SECRET not in str(caught.value)
    assert "URL" in str(caught.value)
    assert isinstance(caught.value, DSXError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": (1, -1)},
        {"timeout": "5"},
        {"timeout": (1, 2, 3)},
        {"retries": -1},
        {"retries": 1.5},
        {"retries": True},
        {"connections": 0},
        {"revalidate": -1},
        {"revalidate": "never"},
        {"cache_dir": 5},
        {"ca_file": "no/such/file"},
        {"ca_file": __file__},
    ],
)
def test_other_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(errors.Invalid) as caught:
        DatasetHubClient(URL, SECRET, **wrong)
    assert next(iter(wrong)) in str(caught.value)


def test_what_needs_a_cache_or_a_name_says_so() -> None:
    client = DatasetHubClient(URL, SECRET, None)
    with pytest.raises(errors.Invalid, match="cache_dir"):
        client.get_file("ds", "a")
    with pytest.raises(errors.Invalid, match="name"):
        client.upload(b"x")


def test_a_tilde_is_the_home_directory(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path.parent)
    (tmp_path / "mine.bin").write_bytes(b"at home")
    (hub.dataset_path / "tilde").mkdir(exist_ok=True)
    (hub.dataset_path / "tilde" / "a").write_bytes(b"a")
    with DatasetHubClient(hub.url, hub.key, "~/cache") as client:
        info = client.upload("~/mine.bin")
        assert info.name == "mine.bin"
        assert client.download(info, "~/back.bin") == tmp_path / "back.bin"
        assert client.download_files([info], "~/all") == [tmp_path / "all" / "mine.bin"]
        assert client.archive([info], "~/all.zip") == tmp_path / "all.zip"
        assert client.get_file("tilde", "a") == tmp_path / "cache" / "tilde" / "a"
    assert (tmp_path / "back.bin").read_bytes() == b"at home"
    assert not (tmp_path.parent / "~").exists()
