"""Publishing, rolling back, pruning and reading in any order, against a model in memory."""

import tempfile
from pathlib import Path

import numpy as np
from amounts import amount
from faults.doubles import Clock, DictObjects
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from encoder.model import StaticModel, save_model
from encoder.store.manifest import digest_of
from encoder.store.publish import commit, upload
from encoder.store.store import DEFAULT_GRACE, ModelStore

CONTENTS = (1.0, 2.0, 3.0)


class StoreMachine(RuleBasedStateMachine):
    """`expected` maps each version to its content; `pending` are publishers between blobs and manifest."""

    @initialize()
    def empty_store(self):
        self.scratch = tempfile.TemporaryDirectory()
        tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]")).to_str()
        self.folders = {
            value: save_model(
                StaticModel(np.full((1, 2), value, np.float32), tokenizer),
                Path(self.scratch.name) / str(value),
            )
            for value in CONTENTS
        }
        self.clock = Clock()
        self.objects = DictObjects(self.clock)
        self.store = ModelStore(self.objects, clock=self.clock)
        self.expected = {}
        self.digests = {}
        self.highest = 0
        self.pending = []

    def committed(self, manifest, content):
        assert manifest.version == self.highest + 1, "a number was skipped or given twice"
        assert self.digests.setdefault(content, manifest.digest) == manifest.digest
        self.expected[manifest.version] = content
        self.highest = manifest.version

    @rule(content=st.sampled_from(CONTENTS))
    def publish(self, content):
        self.committed(self.store.publish(self.folders[content]), content)

    @rule(content=st.sampled_from(CONTENTS))
    def begin_to_publish(self, content):
        self.pending.append((upload(self.objects, self.folders[content]), content, self.clock.now))

    @precondition(lambda self: self.pending)
    @rule()
    def finish_to_publish(self):
        files, content, began = self.pending.pop(0)
        if self.clock.now - began < DEFAULT_GRACE:  # else it was killed on the way
            draft = self.store._publisher._draft(
                name="minilm", files=files, teacher=None, parameters={}, quality={}
            )
            self.committed(commit(self.objects, draft, max(self.store.versions(), default=0)), content)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def roll_back(self, data):
        version = data.draw(st.sampled_from(sorted(self.expected)))
        manifest = self.store.rollback(version)
        assert manifest.rolls_back_to == version
        self.committed(manifest, self.expected[version])

    @rule(keep=st.none() | st.integers(1, 4))
    def prune(self, keep):
        done = self.store.prune(keep=keep)
        allowed = [] if keep is None else sorted(self.expected)[:-keep]
        assert done.versions == allowed[: len(done.versions)]
        for version in done.versions:
            del self.expected[version]

    @rule(days=st.sampled_from([1, 3, 7, 8]))
    def time_passes(self, days):
        self.clock.advance(days=days)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def read(self, data):
        version = data.draw(st.sampled_from(sorted(self.expected)))
        with tempfile.TemporaryDirectory() as target:
            folder = self.store.fetch(self.store.manifest(version), Path(target) / "model")
            source = self.folders[self.expected[version]]
            for path in source.iterdir():
                assert (folder / path.name).read_bytes() == path.read_bytes()

    @invariant()
    def every_version_is_there_and_whole(self):
        if not hasattr(self, "store"):
            return
        assert self.store.versions() == sorted(self.expected)
        for version, content in self.expected.items():
            manifest = self.store.manifest(version)
            assert manifest.digest == self.digests[content] == digest_of(manifest.files)
            assert self.store.verify(manifest) == []
        for content, digest in self.digests.items():
            fitting = [version for version, other in self.expected.items() if other == content]
            if fitting:
                assert self.store.manifest(digest).version == max(fitting)
        if self.expected:
            assert self.store.manifest().version == self.highest

    def teardown(self):
        if hasattr(self, "scratch"):
            self.scratch.cleanup()


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=amount(20, 500), stateful_step_count=25, deadline=None)
