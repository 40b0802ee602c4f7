"""Backfills that are killed at any moment go on, and end with every row exactly once."""

import json
import random
import signal
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from amounts import amount
from patience import wait_for

ROWS = amount(320_000, 1_000_000)  # whole parts in every file
FILES = 4
PER_FILE = 10_000
KILLS = amount(3, 8)
BAD_EVERY = 1000  # the ids of bad rows


def text_of(ids):
    return [f"login failed {i} at lisbon" for i in ids]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Rows with the ids 0 … ROWS - 1, every thousandth with a null text."""
    folder = tmp_path_factory.mktemp("inputs")
    for k, ids in enumerate(np.array_split(np.arange(ROWS), FILES)):
        with (folder / f"{k}.jsonl").open("w") as file:
            for i, text in zip(ids.tolist(), text_of(ids), strict=True):
                file.write(f'{{"id":{i},"text":{"null" if i % BAD_EVERY == 0 else json.dumps(text)}}}\n')
    return folder


@pytest.fixture(scope="module")
def begin(inputs, model):
    """The arguments of the backfill."""

    def arguments(output, workers):
        return (
            *("backfill", "--model", model, "--input", inputs, "--output", output, "--json"),
            *("--rows-per-file", PER_FILE, "--workers", workers),
        )

    return arguments


def check_parts(output, encoder, checked):
    """Every part that can be seen is whole, and its rows are right."""
    for path in sorted(output.glob("*.parquet")):
        if path.name in checked:
            continue
        table = pq.read_table(path)
        metadata = pq.read_metadata(path).metadata
        assert int(metadata[b"millstream.records"]) == len(table) + int(metadata[b"millstream.dead_letters"])
        assert table["text"].to_pylist() == text_of(table["id"].to_pylist())
        some = table.slice(0, 50)
        vectors = some["embedding"].combine_chunks().flatten().to_numpy().reshape(len(some), -1)
        assert np.array_equal(vectors, encoder.encode(some["text"]))
        checked.add(path.name)


def check_whole(output, outcome):
    """Every row is there once, as a row or as a dead letter, and the counts say so."""
    bad = ROWS // BAD_EVERY
    counts = {name: outcome[name] for name in ("records", "rows", "dead_letters")}
    assert counts == {"records": ROWS, "rows": ROWS - bad, "dead_letters": bad}
    assert outcome["parts"] == len(list(output.glob("*.parquet"))) == ROWS // PER_FILE
    ids = np.sort(pq.read_table(output, columns=["id"])["id"].to_numpy())
    assert np.array_equal(ids, np.setdiff1d(np.arange(ROWS), np.arange(0, ROWS, BAD_EVERY)))
    letters = [
        json.loads(json.loads(line)["record"])["id"]
        for path in (output / "dead_letters").iterdir()
        for line in path.read_text().splitlines()
    ]
    assert sorted(letters) == list(range(0, ROWS, BAD_EVERY))
    names = {path.name for path in output.iterdir() if path.suffix != ".parquet"}
    assert names == {"_job.json", "_summary.json", "dead_letters"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_backfill_that_is_killed_again_and_again_loses_and_doubles_nothing(
    seed, tmp_path, begin, processes, ended, encoder
):
    rng = random.Random(seed)
    output, checked, killed = tmp_path / "out", set(), 0
    while killed < KILLS:
        before = len(list(output.glob("*.parquet")))
        process = processes(*begin(output, workers=seed))
        if rng.random() < 0.3:
            time.sleep(rng.uniform(0, 1.5))  # when it is killed, while it starts or later
        else:
            parts = lambda: len(list(output.glob("*.parquet")))  # noqa: E731
            wait_for(parts, "a new part", lambda n, before=before: n > before, process=process, pause=0.01)
            time.sleep(rng.uniform(0, 0.1))  # for another moment in its work
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        killed += 1
        check_parts(output, encoder, checked)
    assert killed == KILLS
    outcome = ended(processes(*begin(output, workers=seed))).done()
    check_parts(output, encoder, checked)
    check_whole(output, outcome)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    again = ended(processes(*begin(output, workers=seed)))
    assert "is complete already" in again.err
    assert {**again.done(), "seconds": 0} == {**outcome, "seconds": 0}
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_soon_with_one_line_and_the_job_goes_on(
    workers, tmp_path, begin, processes, ended, encoder
):
    output = tmp_path / "out"
    process = processes(*begin(output, workers))
    parts = lambda: len(list(output.glob("*.parquet")))  # noqa: E731
    wait_for(parts, "5 parts", lambda n: n >= 5, process=process, pause=0.01)
    process.send_signal(signal.SIGINT)
    stopped = ended(process)
    assert stopped.code == 130
    assert stopped.out == ""
    assert stopped.said == ["interrupted: the same command goes on where this one stopped"]
    check_parts(output, encoder, set())
    assert not (output / "_summary.json").exists()
    check_whole(output, ended(processes(*begin(output, workers))).done())


@pytest.mark.slow
def test_two_runs_at_once_write_the_same(tmp_path, begin, processes, ended, encoder):
    output = tmp_path / "out"
    started = [processes(*begin(output, 1)) for _ in range(2)]
    outcomes = [ended(process) for process in started]
    assert 0 in [one.code for one in outcomes]
    finished = ended(processes(*begin(output, 1)))
    check_parts(output, encoder, set())
    check_whole(output, finished.done())
    assert (
        pa.concat_tables([pq.read_table(path) for path in output.glob("*.parquet")]).num_rows == ROWS * 0.999
    )
