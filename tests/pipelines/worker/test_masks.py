"""A worker whose fields are masked: nothing that a mask matches leaves it, on any way out."""

import json
import logging

import pyarrow.parquet as pq
import pytest
from patience import wait_for
from plans import plan_of
from registry import schema_registry
from topics import read_topic, values_of

from encoder import Encoder
from encoder.errors import ConfigurationError, InputError
from encoder.masks import Masks
from encoder.model import load_model, save_model
from encoder.store.store import ModelStore

CARD = "4111 1111 1111 1111"
ESCAPED = "".join(f"\\u00{ord(char):02x}" for char in CARD)
GOOD = [
    {"id": 1, "text": f"card {CARD} used in tokyo", "note": f"by {CARD}", "card": 4111111111111111},
    {"id": 2, "text": "login failed", "note": None, "card": None},
    {"id": 3, "text": "disk full", "note": [CARD, {"deep": CARD}], "card": "4111-1111-1111-1111"},
]
BAD = [
    f'{{"id": 4, "text": null, "note": "{CARD}"}}',
    f'{{"id": 5, "text": "{CARD}',
    f'{{"id": 6, "text": null, "note": "{ESCAPED}"}}',
    f'{{"id": {CARD}}}',
    f'["{CARD}"]',
]
FIELDS = {"mask_fields": "note,text,card"}


@pytest.fixture
def registry():
    with schema_registry() as served:
        yield served


@pytest.fixture(scope="module")
def masking(model, tmp_path_factory):
    """The tiny model with masks."""
    masks = Masks.parse("card,email")
    return save_model(load_model(model).with_masks(masks), tmp_path_factory.mktemp("masking") / "tiny")


def messages(records=GOOD):
    return [("k", value.encode(), None) for value in (*map(json.dumps, records), *BAD)]


def said(found):
    """All that messages hold, as text."""
    return str([(one.key(), one.value(), one.headers()) for one in found])


@pytest.mark.server
@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_topics_logs_and_metrics_hold_nothing_that_is_masked(form, topics, worker, masking, caplog):
    topics.write(messages())
    with caplog.at_level(logging.INFO), worker(model=str(masking), format=form, **FIELDS) as started:
        found, dead = topics.read(least=len(GOOD)), topics.read_dead(least=len(BAD))
        assert "4111" not in str(started.metrics.last_reason)
    assert "4111" not in said(found) + said(dead) + caplog.text
    assert sum(one.value().count(b"<card>") for one in dead) >= len(BAD)
    if form == "json":
        values = {value["id"]: value for value in values_of(found)}
        assert values[1]["card"] == values[3]["card"] == "<card>"
        assert values[3]["note"] == ["<card>", {"deep": "<card>"}]
        assert values[2]["note"] is None
        expected = Encoder.load(masking).encode("card <card> used in tokyo")
        assert values[1]["embedding"] == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.server
@pytest.mark.parametrize("form", ["arrow", "avro"])
def test_columns_hold_nothing_that_is_masked(form, topics, worker, masking, tmp_path, request):
    records = [{**record, "note": str(record["note"]), "card": str(record["card"])} for record in GOOD]
    topics.write(messages(records))
    out, dead = tmp_path / "out", tmp_path / "dead"
    fields = {**FIELDS, "fields": "id:int64,text:string,note:string,card:string"}
    if form == "avro":
        fields["schema_registry"] = request.getfixturevalue("registry").url
    outputs = [f"topic:{topics.output}", f"parquet:{out}"]
    with worker(outputs, f"parquet:{dead}", model=str(masking), format=form, seconds_per_file=0.5, **fields):
        wait_for(lambda: [*out.glob("**/*.parquet")] and [*dead.glob("**/*.parquet")], "files")
        sent = read_topic(topics.broker.address, topics.output, least=1)
    assert "4111" not in said(sent)
    written = pq.read_table(out)
    assert sorted(written["id"].to_pylist()) == [1, 2, 3]
    assert "<card>" in written["card"].to_pylist()
    letters = pq.read_table(dead)
    assert letters.num_rows == len(BAD)
    for path in (path for folder in (out, dead) for path in folder.rglob("*") if path.is_file()):
        assert b"4111" not in path.read_bytes()
    assert "4111" not in str(written.to_pylist()) + str(letters.to_pylist())


@pytest.mark.server
def test_an_error_that_ends_the_worker_holds_nothing_that_is_masked(topics, worker, masking):
    topics.write([("k", BAD[0].replace("null", f'["{CARD}", 5').encode(), None)] * 200)
    ending = worker(model=str(masking), ends_itself=True, **FIELDS)
    with pytest.raises(InputError, match="records are bad") as error, ending:
        pass
    assert "4111" not in str(error.value)


@pytest.mark.server
def test_other_masks_are_refused_at_the_start_and_later(topics, worker, masking, tmp_path):
    for options, reason in (
        ({"mask": ["ip"]}, "the model's masks are email, card, and this job asks for ip"),
        (
            {"mask_fields": "id", "fields": "id:int64,text:string", "outputs": [f"parquet:{tmp_path}/out"]},
            "holds int64",
        ),
    ):
        refused = worker(model=str(masking), **options)
        with pytest.raises(ConfigurationError, match=reason), refused:
            pass
    store = ModelStore.open((tmp_path / "store/tiny").as_uri())
    store.publish(masking)
    topics.write(messages()[:1])
    with worker(model=f"{tmp_path}/store/tiny", model_seconds=0.1, **FIELDS) as started:
        store.publish(masking, masks=Masks())
        wait_for(lambda: started.follower.refused, "a refused version")
        assert started.follower.current().version == 1
        assert "4111" not in said(topics.read(least=1))


def test_fields_that_are_not_kept_and_copied_avro_are_refused():
    with pytest.raises(
        ConfigurationError, match="names 'note', which is not a kept field: --fields keeps id"
    ):
        plan_of("topic:out", fields="id,text", mask_fields="note")
    with pytest.raises(ConfigurationError, match="cannot mask Avro messages that are copied"):
        plan_of(
            "topic:out", input_format="avro", format="avro", schema_registry="http://r", mask_fields="note"
        )
