"""Files and trash against a model: a dict of names and a list of what was deleted."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from tests.hub.test_files import ADMIN, House, house

from dsx.core.errors import AlreadyExists, Unprocessable
from dsx.core.metadata import merge_patch
from dsx.core.model import FileChanges, FileQuery

NAMES = st.sampled_from(["a", "b", "c/d", "c/é"])
TAGS = st.lists(st.sampled_from(["x", "y"]), unique=True).map(sorted).map(tuple)
CATEGORIES = st.sampled_from(["train", "test"])
METADATA = st.dictionaries(st.sampled_from("kl"), st.none() | st.integers(0, 3), max_size=2)
DATA = st.sampled_from([b"", b"1", b"22"])


@dataclass(eq=False)
class Version:
    """What a version should be."""

    id: str
    number: int
    data: bytes
    category: str
    tags: tuple[str, ...]
    metadata: dict[str, Any]


@dataclass(eq=False)
class File:
    """What a file should be; newest version last.

    Attributes:
        versions: those that are live.
        deleted: those in the trash, together as they were deleted.
    """

    name: str
    id: str = ""
    versions: list[Version] = field(default_factory=list)
    deleted: list[list[Version]] = field(default_factory=list)

    @property
    def all_versions(self) -> list[Version]:
        return [*self.versions, *itertools.chain(*self.deleted)]


class HubMachine(RuleBasedStateMachine):
    """Every step is taken by the hub and by the model."""

    versions = Bundle("versions")

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[str, File] = {}
        self.files: list[File] = []
        self.numbers: set[int] = set()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.hub: House = self.runner.run(self._open())

    async def _open(self) -> House:
        root = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        url = f"sqlite:///{root / 'c.db'}"
        return await self.stack.enter_async_context(house(url, root))

    def teardown(self) -> None:
        self.runner.run(self.hub.clean())
        self.runner.run(self.stack.aclose())
        self.runner.close()

    @rule(target=versions, name=NAMES, data=DATA, category=CATEGORIES, tags=TAGS, metadata=METADATA)
    def store(self, name, data, category, tags, metadata):
        facts = {"category": category, "tags": tags, "metadata": metadata}
        stored = self.runner.run(self.hub.store(name, data, **facts))
        assert stored.number not in self.numbers
        self.numbers.add(stored.number)
        if name not in self.live:
            self.live[name] = File(name, stored.file)
            self.files.append(self.live[name])
        file = self.live[name]
        assert stored.file == file.id
        assert stored.version == 1 + max((v.number for v in file.all_versions), default=0)
        file.versions.append(Version(stored.id, stored.version, data, category, tags, metadata))
        return stored.id

    def _file(self, ref: str) -> File | None:
        """The file of which *ref* is a live version."""
        return next((f for f in self.live.values() if any(v.id == ref for v in f.versions)), None)

    def _deleted(self, ref: str) -> tuple[File, list[Version]] | None:
        """The file of which *ref* is a version in the trash, and what was deleted with it."""
        for file in self.files:
            for group in file.deleted:
                if any(v.id == ref for v in group):
                    return file, group
        return None

    def _take(self, file: File, group: list[Version], ref: str) -> list[Version]:
        """Out of the trash: all of *group* if *ref* is the newest of it, else that one."""
        taken = group[:] if group[-1].id == ref else [v for v in group if v.id == ref]
        group[:] = [v for v in group if v not in taken]
        file.deleted = [one for one in file.deleted if one]
        return taken

    @rule(ref=versions, name=st.none() | NAMES, tags=st.none() | TAGS, patch=METADATA)
    def update(self, ref, name, tags, patch):
        file = self._file(ref)
        if file is None:
            return
        work = self.hub.files.update(ADMIN, ref, FileChanges(name, None, tags, patch))
        if name is not None and name != file.name and name in self.live:
            try:
                self.runner.run(work)
            except AlreadyExists:
                return
            raise AssertionError(name)
        self.runner.run(work)
        version = next(v for v in file.versions if v.id == ref)
        version.metadata = merge_patch(version.metadata, patch)
        version.tags = version.tags if tags is None else tags
        del self.live[file.name]
        file.name = name or file.name
        self.live[file.name] = file

    def _put(self, file: File, group: list[Version]) -> None:
        """Into the trash: *group*, which is live."""
        file.versions = [v for v in file.versions if v not in group]
        file.deleted.append(group)
        if not file.versions:
            del self.live[file.name]

    @rule(ref=versions)
    def delete(self, ref):
        file = self._file(ref)
        if file is not None:
            self.runner.run(self.hub.trash.delete(ADMIN, ref))
            newest = file.versions[-1].id == ref
            self._put(file, file.versions[:] if newest else [self._version(file, ref)])

    @rule(ref=versions, how=st.sampled_from(["version", "file", "file id"]))
    def delete_otherwise(self, ref, how):
        file = self._file(ref)
        if file is None:
            return
        if how == "version":
            version = self._version(file, ref)
            at = file.versions[0].id
            self.runner.run(self.hub.trash.delete_version(ADMIN, at, version.number))
            self._put(file, [version])
        elif how == "file":
            self.runner.run(self.hub.trash.delete_file(ADMIN, ref))
            self._put(file, file.versions[:])
        else:
            self.runner.run(self.hub.trash.delete(ADMIN, file.id))
            self._put(file, file.versions[:])

    @staticmethod
    def _version(file: File, ref: str) -> Version:
        return next(v for v in file.versions if v.id == ref)

    @rule(ref=versions, name=st.none() | NAMES, alone=st.booleans())
    def restore(self, ref, name, alone):
        found = self._deleted(ref)
        if found is None:
            return
        file, group = found
        there = self.live.get(name or file.name)
        number = next(v.number for v in group if v.id == ref) if alone else None
        work = self.hub.trash.restore(ADMIN, ref, name=name, number=number)
        if name is not None and file.versions:
            with pytest.raises(Unprocessable):
                self.runner.run(work)
            return
        if there not in {None, file}:
            with pytest.raises(AlreadyExists):
                self.runner.run(work)
            return
        self.runner.run(work)
        if alone:
            taken = [v for v in group if v.id == ref]
            group[:] = [v for v in group if v.id != ref]
            file.deleted = [one for one in file.deleted if one]
        else:
            taken = self._take(file, group, ref)
        file.name = name or file.name
        file.versions = sorted([*file.versions, *taken], key=lambda v: v.number)
        self.live[file.name] = file

    @rule(ref=consumes(versions))
    def purge(self, ref):
        found = self._deleted(ref)
        if found is not None:
            self.runner.run(self.hub.trash.purge(ADMIN, ref))
            self._take(*found, ref)

    @rule(
        glob=st.sampled_from([None, "*", "c/*", "[ab]", "a"]),
        regex=st.sampled_from([None, "^c", "é$"]),
        category=st.none() | CATEGORIES,
        tags=TAGS,
        sort=st.sampled_from(["name", "-size", "created"]),
    )
    def filtered(self, glob, regex, category, tags, sort):
        query = FileQuery(glob=glob, regex=regex, category=category, tags=tags, sort=sort)
        found = self.runner.run(self.hub.files.list(ADMIN, query)).items
        globs = {"c/*": {"c/d", "c/é"}, "[ab]": {"a", "b"}, "a": {"a"}}
        regexes = {"^c": {"c/d", "c/é"}, "é$": {"c/é"}}
        everything = {"a", "b", "c/d", "c/é"}
        wanted = globs.get(glob, everything) & regexes.get(regex, everything)
        for file in itertools.chain(self.live.values()):
            newest = file.versions[-1]
            if category not in {None, newest.category} or not set(tags) <= set(newest.tags):
                wanted = wanted - {file.name}
        assert {f.name for f in found} == wanted & self.live.keys()
        assert len(found) == len({f.name for f in found})

    @invariant()
    def everything_is_as_the_model_says(self):
        self.runner.run(self._compare())

    async def _compare(self) -> None:
        page = await self.hub.files.list(ADMIN, FileQuery(sort="name"))
        assert [f.name for f in page.items] == sorted(self.live)
        for found in page.items:
            wanted = self.live[found.name].versions
            have = (await self.hub.files.versions(ADMIN, found.file)).items
            assert [
                (v.id, v.size, v.category, v.tags, v.metadata, v.latest) for v in reversed(have)
            ] == [
                (v.id, len(v.data), v.category, v.tags, v.metadata, v is wanted[-1]) for v in wanted
            ]
            assert await self.hub.read(found.id) == wanted[-1].data
        deleted = await self.hub.trash.list(ADMIN, limit=1000, cursor=None)
        groups = [group for file in self.files for group in file.deleted]
        assert sorted(f.id for f in deleted.items) == sorted(group[-1].id for group in groups)
        assert (await self.hub.check()).miscounted == 0


TestHub = HubMachine.TestCase
TestHub.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
