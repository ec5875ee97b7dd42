"""S4 (DSX Hub seed), SDK side: `DatasetHubClient` as its README documents it."""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from PIL import Image
from tests.support.hub import KEY, RunningHub, running_hub, start_hub

import dsx
from dsx import DatasetHubClient
from dsx.client.errors import CacheWarning


@pytest.fixture(scope="module")
def imagenet(hub: RunningHub) -> Path:
    """Twelve real images and a text file."""
    root = hub.dataset_path / "sdk-images"
    (root / "train").mkdir(parents=True)
    for number in range(1, 13):
        image = Image.new("RGB", (8 + number, 8), (number * 20, 100, 50))
        image.save(root / "train" / f"img_{number:03}.jpg")
    (root / "labels.txt").write_text("cat\ndog\n")
    return root


@pytest.fixture
def client(hub: RunningHub, tmp_path: Path) -> Iterator[DatasetHubClient]:
    with DatasetHubClient(hub.url, hub.key, cache_dir=tmp_path / "cache") as opened:
        yield opened


@pytest.fixture
def own_hub(tmp_path: Path) -> Iterator[RunningHub]:
    """A hub this test may stop."""
    with running_hub(tmp_path / "own") as running:
        root = running.dataset_path / "imagenet"
        root.mkdir()
        (root / "a.txt").write_bytes(b"alpha")
        (root / "b.txt").write_bytes(b"beta")
        yield running


@pytest.mark.ledger("S4.21", "S4.22", "S4.23", "S4.24", "S4.58")
def test_constructor_signature() -> None:
    parameters = inspect.signature(DatasetHubClient).parameters
    assert list(parameters)[:3] == ["base_url", "api_key", "cache_dir"]
    assert parameters["cache_dir"].default == "./cache"
    for extra in list(parameters.values())[3:]:
        assert extra.kind is inspect.Parameter.KEYWORD_ONLY
        assert extra.default is not inspect.Parameter.empty
    DatasetHubClient("http://localhost:8000", "my-key")
    DatasetHubClient(base_url="http://localhost:8000", api_key="my-key", cache_dir=None)


@pytest.mark.ledger("S4.26")
def test_trailing_slash_is_tolerated(hub: RunningHub, imagenet: Path) -> None:
    assert imagenet.name in DatasetHubClient(f"{hub.url}/", hub.key, None).list_datasets()


@pytest.mark.ledger("S4.27")
def test_list_datasets(client: DatasetHubClient, imagenet: Path) -> None:
    names = client.list_datasets()
    assert imagenet.name in names
    assert all(isinstance(name, str) for name in names)


@pytest.mark.ledger("S4.28", "S4.29", "S4.30", "S4.31", "S4.32")
def test_get_manifest(client: DatasetHubClient, imagenet: Path) -> None:
    manifest = client.get_manifest(imagenet.name)
    assert type(manifest) is list
    assert len(manifest) == 13
    assert len(manifest[:10]) == 10
    for item in manifest:
        data = (imagenet / item["path"]).read_bytes()
        assert item["size"] == len(data)
        assert item["hash"] == hashlib.md5(data[:1024]).hexdigest()


@pytest.mark.ledger("S4.33", "S4.34")
def test_manifest_survives_the_server_only_with_a_cache(
    own_hub: RunningHub, tmp_path: Path
) -> None:
    cached = DatasetHubClient(own_hub.url, own_hub.key, cache_dir=tmp_path / "cache")
    bare = DatasetHubClient(own_hub.url, own_hub.key, cache_dir=None)
    manifest = cached.get_manifest("imagenet")
    assert bare.get_manifest("imagenet") == manifest
    own_hub.stop()
    with pytest.warns(CacheWarning, match="out of date"):
        assert cached.get_manifest("imagenet") == manifest
    with pytest.raises(requests.ConnectionError):
        bare.get_manifest("imagenet")


@pytest.mark.ledger("S4.2", "S4.35", "S4.36", "S4.37")
def test_get_file_lands_in_the_cache(
    client: DatasetHubClient, imagenet: Path, tmp_path: Path
) -> None:
    path = client.get_file(imagenet.name, "train/img_001.jpg")
    assert isinstance(path, Path)
    assert path == tmp_path / "cache" / imagenet.name / "train" / "img_001.jpg"
    assert path.read_bytes() == (imagenet / "train/img_001.jpg").read_bytes()


@pytest.mark.ledger("S4.38")
def test_cached_file_needs_no_server(own_hub: RunningHub, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    DatasetHubClient(own_hub.url, own_hub.key, cache_dir=cache).get_file("imagenet", "a.txt")
    own_hub.stop()
    offline = DatasetHubClient(own_hub.url, own_hub.key, cache, revalidate=300)
    assert offline.get_file("imagenet", "a.txt").read_bytes() == b"alpha"
    offline = DatasetHubClient(own_hub.url, own_hub.key, cache)
    with pytest.warns(CacheWarning, match="out of date"):
        assert offline.get_file("imagenet", "a.txt").read_bytes() == b"alpha"


@pytest.mark.ledger("S4.38")
def test_changed_file_is_fetched_again(own_hub: RunningHub, tmp_path: Path) -> None:
    client = DatasetHubClient(own_hub.url, own_hub.key, tmp_path / "cache", revalidate=0)
    client.get_file("imagenet", "a.txt")
    (own_hub.dataset_path / "imagenet" / "a.txt").write_bytes(b"alpha, changed")
    assert client.get_file("imagenet", "a.txt").read_bytes() == b"alpha, changed"


@pytest.mark.ledger("S4.25", "S4.39", "S4.41", "S4.43", "S4.47")
def test_without_a_cache_nothing_is_written(
    hub: RunningHub, imagenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client = DatasetHubClient(hub.url, hub.key, cache_dir=None)
    client.get_manifest(imagenet.name)
    assert client.get_file_bytes(imagenet.name, "labels.txt") == b"cat\ndog\n"
    with pytest.raises(ValueError, match="cache_dir"):
        client.get_file(imagenet.name, "labels.txt")
    with pytest.raises(ValueError, match="cache_dir"):
        client.download_dataset(imagenet.name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ledger("S4.2", "S4.40", "S4.42")
def test_get_file_bytes_opens_as_an_image(client: DatasetHubClient, imagenet: Path) -> None:
    data = client.get_file_bytes(imagenet.name, "train/img_002.jpg")
    assert isinstance(data, bytes)
    assert Image.open(io.BytesIO(data)).size == (10, 8)


@pytest.mark.ledger("S4.44", "S4.45", "S4.46")
def test_download_dataset(client: DatasetHubClient, imagenet: Path, tmp_path: Path) -> None:
    wanted = ["train/img_003.jpg", "labels.txt", "train/img_001.jpg"]
    root = tmp_path / "cache" / imagenet.name
    assert client.download_dataset(imagenet.name, file_list=wanted) == [root / p for p in wanted]
    everything = client.download_dataset(imagenet.name)
    assert len(everything) == 13
    for path in everything:
        assert path.read_bytes() == (imagenet / path.relative_to(root)).read_bytes()


@pytest.mark.ledger("S4.48", "S4.49", "S4.50", "S4.51", "S4.52", "S4.56")
def test_cache_accounting(own_hub: RunningHub, tmp_path: Path) -> None:
    other = own_hub.dataset_path / "cifar10"
    other.mkdir()
    (other / "c.bin").write_bytes(b"c" * 1000)
    cache = tmp_path / "cache"
    client = DatasetHubClient(own_hub.url, own_hub.key, cache)
    client.download_dataset("imagenet")
    client.get_manifest("cifar10")
    assert (cache / "imagenet_manifest.json").is_file()
    assert (cache / "cifar10_manifest.json").is_file()
    assert not (cache / "cifar10").exists()
    (cache / "imagenet" / "foreign.txt").write_text("not ours")
    size, total = client.get_cache_size("imagenet"), client.get_cache_size()
    assert size == 9 + (cache / "imagenet_manifest.json").stat().st_size
    assert total == size + (cache / "cifar10_manifest.json").stat().st_size
    assert client.clear_cache("imagenet") == size
    assert client.get_cache_size("imagenet") == 0
    assert (cache / "imagenet" / "foreign.txt").read_text() == "not ours"
    assert client.clear_cache() == total - size
    assert client.get_cache_size() == 0


def examples() -> list[str]:
    """The three examples of the seed's README, word for word, as fixtures of this suite."""
    text = (Path(__file__).parent / "s4_examples.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.ledger("S4.53", "S4.54", "S4.55")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_readme_examples_run_verbatim(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    with running_hub(tmp_path / "own", DSX_API_KEY="my-key") as hub:
        root = hub.dataset_path / "imagenet"
        root.mkdir()
        for index in range(12):
            Image.new("RGB", (10, 10 + index)).save(root / f"{index:02}.png")
        monkeypatch.chdir(tmp_path)
        code = examples()[number].replace("http://localhost:8000", hub.url)
        exec(compile(ast.parse(code), "README", "exec"), {})
    printed = capsys.readouterr().out
    expected = [
        "Found 12 image files",
        "Loaded 00.png: (10, 10), ",
        "Cache using 0.00 MB",
    ][number]
    assert expected in printed
    assert len(list((tmp_path / "cache").glob("imagenet/*.png"))) == (12 if number == 0 else 0)


@pytest.mark.ledger("S4.59", "S4.63")
def test_server_down_says_so(tmp_path: Path) -> None:
    hub = start_hub(tmp_path)
    hub.stop()
    with pytest.raises(requests.ConnectionError) as caught:
        DatasetHubClient(hub.url, KEY, None, retries=0).list_datasets()
    assert hub.url in str(caught.value)
    assert "is the server running" in str(caught.value).lower()
    assert isinstance(caught.value, dsx.DSXError)
    assert isinstance(caught.value, ConnectionError)


@pytest.mark.ledger("S4.60", "S4.63")
def test_wrong_key_names_the_variable(hub: RunningHub) -> None:
    with pytest.raises(requests.HTTPError, match="DSX_API_KEY") as caught:
        DatasetHubClient(hub.url, "wrong", None).list_datasets()
    assert isinstance(caught.value, dsx.DSXError)
    assert caught.value.response.request.headers["Authorization"] == "Bearer wrong"
    assert caught.value.response.status_code == 401


@pytest.mark.ledger("S4.61", "S4.63")
def test_unknown_dataset_is_named(hub: RunningHub) -> None:
    client = DatasetHubClient(hub.url, hub.key, None)
    for call in (client.get_manifest, lambda name: client.get_file_bytes(name, "x")):
        with pytest.raises(requests.HTTPError, match="nosuch") as caught:
            call("nosuch")
        assert "DSX_DATASET_PATH" in str(caught.value)
        assert isinstance(caught.value, dsx.DSXError)
        assert caught.value.response.status_code == 404


@pytest.mark.ledger("S4.62", "S4.63")
def test_unknown_file_is_named(client: DatasetHubClient, imagenet: Path) -> None:
    with pytest.raises(requests.HTTPError, match=r"train/none\.jpg") as caught:
        client.get_file(imagenet.name, "train/none.jpg")
    assert isinstance(caught.value, dsx.DSXError)
    assert caught.value.response.status_code == 404
