"""Masks in jobs: nothing that a mask matches leaves, and models with other masks are refused."""

import json
import logging

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that

from encoder import Encoder
from encoder.errors import ConfigurationError
from encoder.masks import Masks
from encoder.model import load_model, save_model
from pipelines import EmbedBatches

CARD = "4111 1111 1111 1111"
START = 1_705_305_600
RECORDS = [
    {"id": 1, "text": f"card {CARD} used in tokyo", "note": f"by {CARD}", "at": START},
    {"id": 2, "text": "login failed", "note": None, "at": START + 1},
    {"id": 3, "text": None, "note": f"no text, {CARD}", "at": START + 2},
    {"id": 4, "text": "disk full", "note": CARD, "at": "4111-1111-1111-1111"},
]


@pytest.fixture(scope="module")
def masking(model, tmp_path_factory):
    """The tiny model with masks."""
    masks = Masks.parse("card,email")
    return save_model(load_model(model).with_masks(masks), tmp_path_factory.mktemp("masking") / "tiny")


@pytest.fixture
def inputs(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    lines = [*map(json.dumps, RECORDS), f'{{"id": 5, "text": "{CARD}', f'{{"id": {CARD}}}']
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def leaks(folder):
    """The files of a folder in which a card number stands, in any form that is written there."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        text = path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            text += str(table.drop_columns("embedding").to_pylist()) + str(pq.read_schema(path).metadata)
            text += str(pq.read_metadata(path).to_dict())
        if "4111" in text:
            found.append(path.name)
    return found


def test_a_backfill_lets_nothing_out_that_is_masked(
    backfill, masking, inputs, tmp_path, rows, letters, caplog
):
    out = tmp_path / "out"
    with caplog.at_level(logging.INFO):
        done = backfill(inputs, out, "--mask-fields", "note,text", "--keep", "id,note,text", ref=masking)
    assert done.code == 0, done.err
    assert leaks(out) == []
    assert "4111" not in done.out + done.err + caplog.text
    found = rows(out)
    assert found["id"].to_pylist() == [1, 2, 4]
    assert found["note"].to_pylist() == ["by <card>", None, "<card>"]
    assert found["text"].to_pylist()[0] == "card <card> used in tokyo"
    assert len(letters(out)) == 3
    expected = Encoder.load(masking).encode("card <card> used in tokyo")
    assert found["embedding"][0].as_py() == pytest.approx(expected.tolist())


def test_the_masked_fields_are_part_of_what_an_output_is(backfill, masking, inputs, tmp_path):
    out = tmp_path / "out"
    assert backfill(inputs, out, "--mask-fields", "note", ref=masking).code == 0
    assert "the output of another backfill (mask fields" in backfill(inputs, out, ref=masking).error
    assert backfill(inputs, out, "--mask-fields", "note", ref=masking).code == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--mask", "ip"), "the model's masks are email, card, and this job asks for ip"),
        (("--mask", "none"), "the model's masks are email, card, and this job asks for none"),
        (("--mask", "ips"), "there is no mask 'ips'"),
        (("--mask-fields", "nota"), "--mask-fields names 'nota', which is not a kept field"),
        (("--mask-fields", "id"), "--mask-fields names 'id', which holds int64"),
    ],
)
def test_what_cannot_be_masked_is_refused_before_any_work(
    options, reason, backfill, masking, inputs, tmp_path
):
    assert reason in backfill(inputs, tmp_path / "out", *options, ref=masking).error
    assert not (tmp_path / "out").exists()


def test_fields_need_a_model_with_masks(backfill, model, inputs, tmp_path):
    error = backfill(inputs, tmp_path / "out", "--mask-fields", "note", ref=model).error
    assert "it has none: publish a version with --mask" in error
    assert backfill(inputs, tmp_path / "out", "--mask", "none", ref=model).code == 0


@pytest.mark.slow
def test_a_stream_lets_nothing_out_that_is_masked(millstream, masking, inputs, tmp_path, letters, caplog):
    out = tmp_path / "out"
    own = ("--model", masking, "--input", f"files:{inputs}", "--output", f"parquet:{out}", "--stop-at-end")
    times = ("--event-time", "at", "--window", "10s", "--out-of-orderness", "1h", "--idle", "1h")
    fields = ("--mask-fields", "note,text", "--keep", "id,note,text", "--mask", "email,card")
    with caplog.at_level(logging.INFO):
        done = millstream("stream", *own, *times, *fields)
    assert done.code == 0, done.err
    assert leaks(out) == []
    assert "4111" not in done.out + done.err + caplog.text
    table = pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("*.parquet"))])
    assert sorted(filter(None, table["note"].to_pylist())) == ["by <card>"]
    assert len(letters(out)) == 4
    refused = millstream("stream", *own, *times, "--mask", "ip")
    assert "the model's masks are email, card, and this job asks for ip" in refused.error


def test_batches_leave_a_pipeline_with_masked_fields(masking, model):
    batch = pa.RecordBatch.from_pylist([{**record, "at": 1} for record in RECORDS])
    embed = EmbedBatches(str(masking), mask_fields=["note", "text"], masks="email,card")

    def check(found):
        assert "4111" not in str(found)
        assert len(found) == 1

    with beam.Pipeline(runner="FnApiRunner", argv=["--direct_num_workers=1"]) as pipeline:
        good, bad = pipeline | beam.Create([batch]) | embed.with_exception_handling()
        texts = good | beam.Map(lambda one: one.select(["id", "note", "text"]).to_pylist())
        assert_that(texts, check, label="good")
        assert_that(bad | beam.Map(str), check, label="bad")
    with pytest.raises(ConfigurationError, match="this job asks for ip"):
        EmbedBatches(str(masking), masks="ip")
    with pytest.raises(ConfigurationError, match="it has none"):
        EmbedBatches(str(model), mask_fields=["note"])
