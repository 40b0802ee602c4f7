"""The same backfill on every engine, and on Flink through crashes: equal files, byte for byte."""

import json
import time

import pyarrow.parquet as pq
import pytest
from amounts import amount
from patience import wait_for

N = 6000
BAD_EVERY = 100
MULTI_PROCESSING = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


def write_inputs(folder, n, files):
    """Records with the ids 0 … n - 1, every hundredth with a null text."""
    folder.mkdir()
    for k in range(files):
        with (folder / f"{k}.jsonl").open("w") as file:
            for i in range(k * n // files, (k + 1) * n // files):
                text = None if i % BAD_EVERY == 0 else f"login failed {i} in lisbon"
                file.write(json.dumps({"id": i, "text": text}) + "\n")
    return folder


def contents(output):
    """All files of an output, the summary aside, by name."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in output.rglob("*part*")
        if "_staging" not in path.parts
    }


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs") / "in", N, 4)


@pytest.fixture
def backfill(millstream, model):
    """Start a backfill."""

    def start(inputs, output, rows_per_file, *beam):
        own = ("--model", model, "--input", inputs, "--output", output, "--rows-per-file", rows_per_file)
        return millstream("backfill", *own, "--json", "--", *beam)

    return start


@pytest.fixture(scope="session")
def expected(inputs, model, tmp_path_factory):
    """What two threads of this machine make of the inputs."""
    from pipelines.beam.backfill.job import claim_output
    from pipelines.beam.backfill.plan import plan_backfill
    from pipelines.beam.runner import run_backfill
    from pipelines.beam.runner_options import beam_options
    from pipelines.enrich.enrichment import Enrichment

    output = tmp_path_factory.mktemp("expected") / "out"
    job = plan_backfill(
        model=str(model),
        pattern=str(inputs),
        output=str(output),
        enrichment=Enrichment.parse("text"),
        chunk_rows=500,
    )
    claim_output(job)
    counts = run_backfill(job, beam_options([], 2), lambda _: None)
    assert (counts.records, counts.dead_letters) == (N, N // BAD_EVERY)
    return contents(output)


def check(output, outcome, expected):
    assert contents(output) == expected
    assert (outcome["records"], outcome["dead_letters"]) == (N, N // BAD_EVERY)
    ids = sorted(pq.read_table(output, columns=["id"])["id"].to_pylist())
    assert ids == [i for i in range(N) if i % BAD_EVERY]


@pytest.mark.slow
def test_two_processes_write_the_same(inputs, tmp_path, backfill, done, expected):
    outcome = done(backfill(inputs, tmp_path / "out", 500, *MULTI_PROCESSING))
    check(tmp_path / "out", outcome, expected)


@pytest.mark.server
def test_prism_writes_the_same(inputs, tmp_path, backfill, done, expected, prism_options):
    outcome = done(backfill(inputs, tmp_path / "out", 500, *prism_options))
    check(tmp_path / "out", outcome, expected)


@pytest.mark.server
def test_flink_writes_the_same(inputs, tmp_path, backfill, done, expected, flink_options):
    outcome = done(backfill(inputs, tmp_path / "out", 500, *flink_options))
    check(tmp_path / "out", outcome, expected)


KILLS = ("Python worker", "TaskManager") * amount(1, 5)
LARGE = amount(20_000, 60_000)


@pytest.mark.server
def test_a_backfill_on_flink_survives_kills(tmp_path, backfill, done, flink_cluster, flink_options):
    inputs = write_inputs(tmp_path / "in", LARGE, 2)
    output = tmp_path / "out"
    job = backfill(inputs, output, 20, *flink_options)  # many files, which take their time
    for victim in KILLS:
        wait_for_more_parts(output, job)
        flink_cluster.kill(victim)
    outcome = done(job)
    assert outcome["records"] == LARGE
    again = tmp_path / "again"
    done(backfill(inputs, again, 20, "--runner=FnApiRunner"))
    assert contents(output) == contents(again)
    ids = sorted(pq.read_table(output, columns=["id"])["id"].to_pylist())
    assert ids == [i for i in range(LARGE) if i % BAD_EVERY]


def wait_for_more_parts(output, job):
    """Wait until the job writes: a part is newer than this call."""
    begin = time.time()
    newest = lambda: max((path.stat().st_mtime for path in output.glob("*.parquet")), default=0.0)
    wait_for(newest, "a new part", lambda at: at > begin, process=job)
