"""A partition starts where the slowest output needs it, and what is committed says how far each one is."""

import pytest
from faults.doubles import Clock, DictObjects
from faults.messages import FakeMessage, batch_of

from pipelines.sinks.kafka import TopicSink
from pipelines.sinks.offset_files import OffsetFiles
from pipelines.sinks.open_files import Rotation
from pipelines.worker.error_budget import ErrorBudget
from pipelines.worker.offsets import CommitNote
from pipelines.worker.progress import Progress
from pipelines.worker.sinks import Outputs


def progress(*, topics=True):
    files = OffsetFiles(DictObjects(Clock()), Rotation(10), {}, lambda partition: ("in", partition))
    sink = TopicSink(None, "dead", 1000) if topics else None
    return Progress(Outputs(files=files, letters_topic=sink), ErrorBudget(1.0))


def messages(*offsets):
    return batch_of([FakeMessage(b"{}", offset_=offset) for offset in offsets])


def test_what_topics_have_is_read_again_for_the_files_alone():
    made = progress()
    assert made.begin(0, 50, "files=20") == (20, 50)
    assert made.fresh(messages(48, 49, 50, 51)).tolist() == [False, False, True, True]
    states = made.to_commit({0: 45})
    assert states == {0: (50, "files=45")}
    made.committed(states, {0: 45})
    assert made.to_commit({0: 45}) == {}
    states = made.to_commit({0: 60})
    assert states == {0: (60, "files=60")}
    made.committed(states, {0: 60})
    assert made.fresh(messages(60)) is None


def test_files_alone_commit_what_is_written():
    made = progress(topics=False)
    assert made.begin(0, 50, "input=c/t") == (50, 50)
    assert made.to_commit({0: 50}) == {}
    assert made.to_commit({0: 70}) == {0: (70, "input=c/t")}


@pytest.mark.parametrize(
    ("metadata", "start"), [("", 50), ("files=0", 0), ("files=20", 20), ("of another program", 50)]
)
def test_metadata_of_version_0_1_0_goes_on(metadata, start):
    made = progress()
    assert made.begin(0, 50, metadata) == (start, 50)
    assert CommitNote.parse(made.to_commit({0: start + 1})[0][1]).files == start + 1


def test_version_0_1_0_ends_at_metadata_that_it_would_misread():
    """It takes what begins otherwise for nothing, and would leave records out of the files."""
    metadata = str(CommitNote(files=20, input="c/t", records=7))
    assert metadata.startswith("files=20;")
    with pytest.raises(ValueError, match="invalid literal"):
        int(metadata.removeprefix("files="))


def test_a_log_that_was_cut_begins_another_epoch():
    made = progress()
    made.begin(0, 50, "files=50;input=c/t;records=9;position=50")
    assert made.begin_again(0, 3) == 3
    note = CommitNote.parse(made.to_commit({0: 4})[0][1])
    assert note == CommitNote(files=4, input="c/t", epoch=1, records=9)


def test_a_partition_that_left_is_forgotten():
    made = progress()
    made.begin(0, 50, "files=20")
    made.end([0])
    assert made.fresh(messages(20)) is None
    assert made.begin(0, 50, "files=50") == (50, 50)
    assert made.to_commit({0: 50}) == {}
