"""Backfills that are killed at any moment go on, and end with every row exactly once."""

import json
import random
import shutil
import signal
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from amounts import amount
from patience import wait_for

ROWS = amount(640_000, 2_000_000)  # whole parts in every file
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


@pytest.fixture
def interrupt(begin, processes, ended):
    """Start a backfill, and send it a signal once it has written so many parts more, and some time later."""

    def start(number, output, workers, n_parts, later=0.0):
        while True:
            parts = lambda: len(list(output.glob("*.parquet")))
            process, wanted = processes(*begin(output, workers)), parts() + n_parts
            over = lambda n, process=process, wanted=wanted: n >= wanted or process.poll() is not None
            wait_for(parts, f"{wanted} parts", over, pause=0.01)
            time.sleep(later)
            process.send_signal(number)
            outcome = ended(process)
            if outcome.code:
                return outcome
            shutil.rmtree(output)  # the backfill was faster than this process: begin again

    return start


@pytest.mark.slow
@pytest.mark.parametrize("seed", amount([2], [1, 2]))
def test_a_backfill_that_is_killed_again_and_again_loses_and_doubles_nothing(
    seed, tmp_path, begin, interrupt, processes, ended, encoder
):
    rng = random.Random(seed)
    output = tmp_path / "out"
    for _ in range(KILLS):
        n_parts = int(rng.random() > 0.3)  # or while it starts
        killed = interrupt(signal.SIGKILL, output, seed, n_parts, rng.uniform(0, 0.1 if n_parts else 1.5))
        assert killed.code == -signal.SIGKILL
        check_parts(output, encoder, set())
    outcome = ended(processes(*begin(output, workers=seed))).done()
    check_parts(output, encoder, set())
    check_whole(output, outcome)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    again = ended(processes(*begin(output, workers=seed)))
    assert "is already complete" in again.err
    assert {**again.done(), "seconds": 0} == {**outcome, "seconds": 0}
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before


@pytest.mark.slow
@pytest.mark.parametrize("workers", amount([2], [1, 2]))
def test_ctrl_c_ends_soon_with_one_line_and_the_job_goes_on(
    workers, tmp_path, begin, interrupt, processes, ended, encoder
):
    output = tmp_path / "out"
    stopped = interrupt(signal.SIGINT, output, workers, 5)
    assert stopped.code == 130
    assert stopped.out == ""
    assert stopped.said == ["interrupted: run the same command again to continue"]
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
