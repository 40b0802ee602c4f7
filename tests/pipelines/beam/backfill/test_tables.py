"""Backfills into tables: readers see none or all of the rows, and a job that runs again commits nothing."""

import json

import numpy as np
import pytest

from pipelines.beam.backfill import table as tables

N = 3000


@pytest.fixture
def embed(backfill, lake, form, tmp_path):
    """Run the backfill into the table; gives how it ended."""
    lines = [json.dumps({"id": i, "text": f"disk full {i}"}) for i in range(N)]
    lines[7] = "oops"
    (tmp_path / "in.jsonl").write_text("\n".join(lines))

    def call(**options):
        return backfill(tmp_path / "in.jsonl", lake.target(form), "--rows-per-file", 500, **options)

    return call


def check_rows(lake, form, encoder):
    rows = lake.rows(form).sort_by("id")
    ids = [i for i in range(N) if i != 7]
    assert rows["id"].to_pylist() == ids
    vectors = np.array(rows["embedding"].to_pylist(), np.float32)
    assert np.array_equal(vectors, encoder.encode([f"disk full {i}" for i in ids]))
    assert lake.n_commits(form) == 1


@pytest.mark.slow
def test_all_rows_appear_in_one_commit_however_often_the_job_runs(embed, lake, form, encoder):
    done = embed().done()
    assert (done["rows"], done["dead_letters"], done["parts"]) == (N - 1, 1, 6)
    assert done["output"] == lake.target(form)
    check_rows(lake, form, encoder)
    again = embed().done()
    assert again["rows"] == done["rows"]
    check_rows(lake, form, encoder)
    lake.compact(form)
    assert embed().done()["rows"] == done["rows"]
    assert len(lake.rows(form)) == N - 1


@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
@pytest.mark.slow
def test_a_job_that_was_interrupted_commits_once(when, embed, lake, form, encoder, monkeypatch):
    commit = tables.commit_parts

    def interrupted(job):
        if when == "after the commit":
            commit(job)
        raise OSError("the machine is gone")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.beam.backfill.pipeline.commit_parts", interrupted)
        assert embed().code != 0
    assert len(lake.rows(form)) == (N - 1 if when == "after the commit" else 0)
    assert embed().done()["rows"] == N - 1
    check_rows(lake, form, encoder)


def test_parts_without_rows_are_no_files_of_the_table(backfill, lake, form, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"id": 1, "text": "disk full"}\n' + "oops\n" * 5)
    done = backfill(tmp_path / "in.jsonl", lake.target(form), "--rows-per-file", 2).done()
    assert (done["rows"], done["dead_letters"], done["parts"]) == (1, 5, 3)
    assert lake.rows(form)["id"].to_pylist() == [1]


@pytest.mark.slow
def test_other_options_of_embedding_are_refused(embed, lake, form):
    embed().done()
    error = embed(text="{id}").error
    assert "the output of another backfill (text: text, not {id}): name another table" in error
    assert len(lake.rows(form)) == N - 1
