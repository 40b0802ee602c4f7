"""Topics that are not what they were: created again, cut, overtaken by retention, grown."""

import dataclasses
import json

import pyarrow.parquet as pq
import pytest
from brokers import kafka as run_kafka
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import NewPartitions
from patience import PATIENCE, wait_for

from encoder.errors import ConfigurationError, OtherInput
from pipelines.worker.offsets import CommitNote

pytestmark = pytest.mark.server
PARTITIONS = 4


@pytest.fixture(scope="module")
def cluster():
    """Another cluster."""
    with run_kafka() as cluster:
        yield cluster


@pytest.fixture
def elsewhere(topics, cluster):
    """Topics of the same names in that cluster."""
    made = dataclasses.replace(topics, broker=cluster.broker)
    for name, n in ((made.input, PARTITIONS), (made.output, 2), (made.dead, 1)):
        made.broker.create_topic(name, n)
    return made


def events(n, first=0):
    return [(str(i), json.dumps({"id": i, "text": f"login {i}"}), None) for i in range(first, first + n)]


def ids(topics):
    return sorted(value["id"] for value in topics.read_values())


def rows(folder):
    """The ids in all files of a folder, as every reader finds them."""
    if not folder.exists():
        return []
    return sorted(i for path in folder.rglob("*.parquet") for i in pq.read_table(path)["id"].to_pylist())


def create_again(topics):
    admin = topics.broker.admin()
    admin.delete_topics([topics.input])[topics.input].result(PATIENCE)

    def create():
        try:
            topics.broker.create_topic(topics.input, PARTITIONS)
        except KafkaException:  # it is still being deleted
            return False
        return True

    wait_for(create, "the topic again", bool, pause=0.05)


def commit(topics, offset, metadata="", partitions=range(PARTITIONS)):
    """Commit an offset for the group, as a worker did that wrote this metadata."""
    consumer = Consumer({"bootstrap.servers": topics.broker.address, "group.id": topics.group})
    offsets = [TopicPartition(topics.input, p, offset, metadata) for p in partitions]
    consumer.commit(offsets=offsets, asynchronous=False)
    consumer.close()


def committed_by(topics):
    """What the group has committed."""
    admin = topics.broker.admin()  # its futures end with it
    [found] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(topics.group)]).values()
    return found.result(PATIENCE).topic_partitions


def delete_records(topics, before):
    """Delete the records before an offset of each partition, as retention does."""
    offsets = [TopicPartition(topics.input, p, before) for p in range(PARTITIONS)]
    admin = topics.broker.admin()
    for future in admin.delete_records(offsets).values():
        future.result(PATIENCE)


def skipped(started, reason):
    return started.metrics.registry.get_sample_value("millstream_skipped_offsets_total", {"reason": reason})


@pytest.fixture
def outputs(topics, tmp_path):
    return [f"topic:{topics.output}", f"parquet:{tmp_path / 'out'}"]


def read_all(worker, topics, outputs, folder, wanted, **options):
    """Run a worker until the topic and the folder hold these ids, each once."""
    with worker(outputs, seconds_per_file=0.2, **options):
        wait_for(lambda: set(ids(topics)), "ids in the topic", lambda found: found >= set(wanted))
        wait_for(lambda: set(rows(folder)), "ids in the files", lambda found: found >= set(wanted))
    assert ids(topics) == sorted(wanted)
    assert rows(folder) == sorted(wanted)


def refused(run, says):
    """Run a worker that ends by itself because its input is another one."""
    with pytest.raises(OtherInput, match=says):
        run()


def test_a_topic_that_was_created_again_is_another_input(topics, worker, outputs, tmp_path):
    folder = tmp_path / "out"
    topics.write(events(400))
    read_all(worker, topics, outputs, folder, range(400))
    create_again(topics)
    topics.write(events(800, first=1000))
    for _ in range(2):
        refused(worker(outputs).__enter__, r"created again: .* and a new group, or set `accept_new_input`")
    assert (ids(topics), rows(folder)) == (list(range(400)), list(range(400)))
    wanted = [*range(400), *range(1000, 1800)]
    read_all(worker, topics, outputs, folder, wanted, accept_new_input=True)
    topics.write(events(100, first=2000))
    read_all(worker, topics, outputs, folder, [*wanted, *range(2000, 2100)])


@pytest.mark.parametrize("n", [100, 900], ids=["with fewer records", "with more records"])
def test_a_topic_that_is_created_again_ends_a_running_worker(n, topics, worker, outputs, tmp_path):
    topics.write(events(400))
    read_all(worker, topics, outputs, tmp_path / "out", range(400))

    def run():
        with worker(outputs, ends_itself=True) as started:
            wait_for(lambda: started.source.positions.owned, "partitions")
            create_again(topics)
            topics.write(events(n, first=1000))

    refused(run, "is not the one that this worker has read")
    assert (ids(topics), rows(tmp_path / "out")) == (list(range(400)), list(range(400)))


def test_topics_of_the_same_names_in_two_clusters(topics, elsewhere, worker, outputs, tmp_path):
    topics.write(events(40))
    read_all(worker, topics, outputs, tmp_path / "out", range(40))
    elsewhere.write(events(40, first=100))
    there = {"brokers": elsewhere.broker.address}
    refused(lambda: worker(outputs, **there).__enter__(), "it is in cluster .*, and that one in")
    with worker(outputs, seconds_per_file=0.2, accept_new_input=True, **there):
        elsewhere.read(least=40)
        wait_for(lambda: rows(tmp_path / "out"), "rows", lambda found: len(found) >= 80)
    assert ids(elsewhere) == list(range(100, 140))
    assert rows(tmp_path / "out") == [*range(40), *range(100, 140)]


def test_a_topic_that_was_created_again_is_another_input_for_topics_alone(topics, worker):
    """Kafka forgets the group's offsets with the topic, and keeps what the output topic was made of."""
    topics.write(events(40))
    with worker():
        topics.read(least=40)
    topics.write(events(40, first=40))
    with worker():
        topics.read(least=80)
    create_again(topics)
    wait_for(lambda: committed_by(topics), "forgotten offsets", lambda found: not found)
    topics.write(events(40, first=100))
    says = rf"that topic '{topics.output}' was made of \(it was created again: .*, or set `accept_new_input`"
    for _ in range(2):
        refused(worker().__enter__, says)
    assert ids(topics) == list(range(80))
    wanted = [*range(80), *range(100, 140)]
    for accept in (True, False):
        with worker(accept_new_input=accept):
            topics.read(least=120)
        assert ids(topics) == wanted
    with worker(group=f"{topics.group}-new"):  # the other way on
        topics.read(least=160)
    assert ids(topics) == sorted([*wanted, *range(100, 140)])


def test_a_group_that_has_lost_its_offsets_says_so(topics, worker, caplog):
    says = "has no offsets for"
    topics.write(events(40))
    with worker():
        topics.read(least=40)
    with worker():
        pass
    assert says not in caplog.text
    admin = topics.broker.admin()  # its futures end with it
    admin.delete_consumer_groups([topics.group])[topics.group].result(PATIENCE)
    strict = {"properties": {"auto.offset.reset": "error"}}

    def run():
        with worker(**strict, ends_itself=True):
            pass

    with pytest.raises(ConfigurationError, match=r"no offset for .*expired, or the topic was created again"):
        run()
    assert ids(topics) == list(range(40))
    with worker():
        topics.read(least=80)
    assert (
        f"group {topics.group!r} {says} {topics.input}, and there are messages in {topics.output}"
        in caplog.text
    )
    assert ids(topics) == sorted([*range(40)] * 2)
    topics.write(events(40, first=200))
    with worker(**strict):
        topics.read(least=120)
    assert ids(topics) == sorted([*[*range(40)] * 2, *range(200, 240)])


def test_a_new_group_that_is_to_know_its_offsets_begins_when_it_is_told_to(topics, worker):
    topics.write(events(40))
    with worker(properties={"auto.offset.reset": "error"}, accept_new_input=True):
        topics.read(least=40)
    assert ids(topics) == list(range(40))


@pytest.mark.parametrize("whose", ["the group's", "the folder's"])
def test_a_topic_of_another_cluster_is_another_input(whose, topics, worker, outputs, tmp_path):
    topics.write(events(40))
    there = "AnotherCluster/4sZ8WBRBQ7SgZgHFJ0f1Qw"
    if whose == "the group's":
        commit(topics, 5, f"input={there};partitions=4")
    else:
        (tmp_path / "out" / topics.input).mkdir(parents=True)
        (tmp_path / "out" / topics.input / "_input.json").write_text(json.dumps([there]))
    refused(worker(outputs).__enter__, "it is in cluster .*, and that one in AnotherCluster")
    assert (ids(topics), rows(tmp_path / "out")) == ([], [])
    read_all(worker, topics, outputs, tmp_path / "out", range(40), accept_new_input=True)


@pytest.mark.parametrize(
    "metadata",
    ["", "files=500", "files=0", "files=100"],
    ids=["topics alone", "files too", "files 0", "files 100"],
)
def test_a_position_behind_the_end_of_the_log_goes_back_to_its_beginning(
    metadata, topics, worker, outputs, tmp_path
):
    commit(topics, 500, metadata)
    topics.write(events(100))
    read_all(worker, topics, outputs, tmp_path / "out", range(100))
    topics.write(events(100, first=100))
    read_all(worker, topics, outputs, tmp_path / "out", range(200))


def test_files_of_a_log_that_was_cut_stay_and_new_ones_take_other_names(topics, worker, tmp_path):
    """The log loses its end, as with a broker that is restored: the offsets of what is there come again."""
    folder, outputs = tmp_path / "out", [f"parquet:{tmp_path / 'out'}"]

    def run(*wanted):
        with worker(outputs, seconds_per_file=0.2):
            wait_for(lambda: len(rows(folder)), "rows", lambda n: n >= len(wanted))
        assert rows(folder) == sorted(wanted)

    topics.write(events(40))
    run(*range(40))
    for part in range(PARTITIONS):  # as if they had been of a longer log
        for path in (folder / topics.input / f"p{part}").iterdir():
            longer = pq.read_table(path).replace_schema_metadata({"millstream.end": "500"})
            pq.write_table(longer, path)
    commit(topics, 501)
    topics.write(events(40, first=100))
    run(*range(40), *range(40), *range(100, 140))
    topics.write(events(40, first=200))
    run(*range(40), *range(40), *range(100, 140), *range(200, 240))


def test_what_retention_removed_before_it_was_read_is_counted(topics, worker, outputs, tmp_path):
    topics.write(events(40))
    read_all(worker, topics, outputs, tmp_path / "out", range(40))
    topics.write(events(400, first=100))
    committed = {part.partition: part.offset for part in committed_by(topics)}
    delete_records(topics, 60)
    with worker(outputs) as started:
        wait_for(
            lambda: skipped(started, "retention"),
            "skipped offsets",
            lambda n: n == sum(60 - at for at in committed.values()),
        )
        topics.write(events(100, first=1000))
        wait_for(lambda: set(ids(topics)), "new ids", lambda found: found >= set(range(1000, 1100)))
    found = ids(topics)
    assert len(found) == len(set(found)) == len(topics.read())


def test_a_new_partition_of_a_known_topic_begins_at_the_beginning(topics, worker):
    latest = {"properties": {"auto.offset.reset": "latest"}}
    topics.write(events(100))
    with worker(**latest) as started:
        wait_for(lambda: started.source.positions.owned, "partitions")
        wait_for(lambda: skipped(started, "latest"), "skipped offsets", lambda n: n == 100)
    admin = topics.broker.admin()
    admin.create_partitions([NewPartitions(topics.input, PARTITIONS + 2)])[topics.input].result(PATIENCE)
    wait_for(
        lambda: len(admin.list_topics(topics.input).topics[topics.input].partitions), "6", lambda n: n == 6
    )
    topics.write(events(600, first=100))
    with worker(**latest) as started:
        topics.read(least=600)
        assert skipped(started, "latest") == 0
    assert ids(topics) == list(range(100, 700))


def test_offsets_and_files_of_an_earlier_version_go_on(topics, worker, outputs, tmp_path):
    """Neither said which topic they are of; from now on they do."""
    folder = tmp_path / "out"
    topics.write(events(40))
    read_all(worker, topics, outputs, folder, range(40))
    (folder / topics.input / "_input.json").unlink()
    committed = {part.partition: part.offset for part in committed_by(topics)}
    for partition, offset in committed.items():
        commit(topics, offset, f"files={offset}", [partition])
    topics.write(events(40, first=100))
    read_all(worker, topics, outputs, folder, [*range(40), *range(100, 140)])
    [known] = json.loads((folder / topics.input / "_input.json").read_text())
    notes = {CommitNote.parse(part.metadata).input for part in committed_by(topics)}
    assert notes == {known}
    names = {path.name for path in folder.rglob("*.parquet")}
    assert all(len(name) == len(f"{0:020d}.parquet") for name in names)
    metadata = [pq.read_metadata(path).metadata for path in folder.rglob("*.parquet")]
    ids_ = {f"{m[b'millstream.cluster'].decode()}/{m[b'millstream.topic_id'].decode()}" for m in metadata}
    assert ids_ == {known}


def test_a_position_that_is_gone_is_an_error_if_it_is_to_be(topics, worker):
    commit(topics, 500)
    topics.write(events(10))

    def run():
        with worker(properties={"auto.offset.reset": "error"}, ends_itself=True):
            pass

    with pytest.raises(ConfigurationError, match=r"500 is to be read next: set the property auto\.offset"):
        run()
