from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from encoder import Encoder
from encoder.errors import ConfigurationError
from pipelines.enrich.columns import VectorFormat, score_columns
from pipelines.enrich.condition import Condition
from pipelines.enrich.enrichment import Enriched, Enrichment
from pipelines.records.template import TextTemplate

LABEL = "tiny@7"


def batch(texts, **columns):
    return pa.record_batch(
        {"id": pa.array(range(len(texts))), "text": pa.array(texts, pa.string()), **columns}
    )


def enrichment(text="text", **options):
    return Enrichment(TextTemplate.parse(text), **options)


def vectors(enriched):
    return enriched.batch["embedding"].flatten().to_numpy().reshape(enriched.batch.num_rows, -1)


def test_rows_keep_their_order_and_get_their_vectors(encoder):
    texts = ["login failed", "card used in tokyo", "", "login failed"]
    enriched = enrichment()(batch(texts), encoder, LABEL)
    assert enriched.batch.schema.names == ["id", "text", "embedding", "model_version"]
    assert enriched.batch["id"].to_pylist() == [0, 1, 2, 3]
    assert np.array_equal(vectors(enriched), encoder.encode(texts))
    assert enriched.batch["model_version"].to_pylist() == [LABEL] * 4
    assert enriched.bad == {}


def test_rows_without_a_text_leave(encoder):
    enriched = enrichment()(batch([None, "paid", None, "", "used"]), encoder, LABEL)
    assert enriched.batch["id"].to_pylist() == [1, 3, 4]
    assert np.array_equal(vectors(enriched), encoder.encode(["paid", "", "used"]))
    assert enriched.bad == {0: "the text is null: text", 2: "the text is null: text"}


@pytest.mark.parametrize("texts", [[], [None, None]])
def test_a_batch_may_become_empty(texts, encoder):
    enriched = enrichment()(batch(texts), encoder, LABEL)
    assert enriched.batch.num_rows == 0
    assert list(enriched.bad) == list(range(len(texts)))
    assert enriched.batch.schema == enrichment().schema(batch(texts).schema, encoder)


def test_bytes_that_are_no_text_leave_with_a_reason(encoder):
    offsets = pa.py_buffer(np.array([0, 2, 4, 8, 8], np.int32))
    broken = pa.StringArray.from_buffers(4, offsets, pa.py_buffer(b"in\xff\xfepaid"), pa.py_buffer(b"\x07"))
    table = pa.record_batch({"id": pa.array([0, 1, 2, 3]), "text": broken})
    for part, n_before in ((table, 0), (table.slice(1), 1)):
        enriched = enrichment()(part, encoder, LABEL)
        reasons = {row + n_before: reason for row, reason in enriched.bad.items()}
        assert reasons == {
            1: "the text is not UTF-8: byte 0xff at position 0",
            3: "the text is null: text",
        }
        assert enriched.batch["id"].to_pylist() == [0, 2][n_before:]


def test_any_batch_gives_the_schema_that_was_announced(encoder):
    records = batch(["paid", None], amount=pa.array([1.5, None]), tags=pa.array([["a"], None]))
    for keep in (None, (), ("tags", "id")):
        for form in (VectorFormat(), VectorFormat("binary", "int8")):
            enrich = enrichment("{amount}{text}", keep=keep, vectors=form)
            made = enrich(records, encoder, LABEL).batch
            assert made.schema == enrich.schema(records.schema, encoder)
            kept = records.schema.names if keep is None else list(keep)
            assert made.schema.names == [*kept, "embedding", "model_version"]


@pytest.mark.parametrize("name", ["embedding", "model_version"])
def test_a_column_named_as_an_added_one_must_be_left_out(name, encoder):
    records = pa.schema({"text": pa.string(), name: pa.int64()})
    with pytest.raises(ConfigurationError, match=f"'{name}'.*--keep"):
        enrichment().schema(records, encoder)
    assert enrichment(keep=("text",)).schema(records, encoder).names == ["text", "embedding", "model_version"]


def test_a_kept_column_must_exist(encoder):
    with pytest.raises(ConfigurationError, match="'nope'; the input has text"):
        enrichment(keep=("nope",)).schema(pa.schema({"text": pa.string()}), encoder)


TEXTS = ["login failed", "card used in tokyo", "", "login failed", "disk full", "order paid"]


@pytest.fixture(scope="module")
def headed_encoder(headed):
    return Encoder.load(headed(), threads=1)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("with_room", [False, True])
def test_heads_add_their_columns_whatever_the_vectors_are_written_as(
    dtype, with_room, headed_encoder, score_names
):
    form = VectorFormat("list", dtype)
    room = np.empty((10, headed_encoder.dim), dtype) if with_room else None
    records = batch([None, *TEXTS])
    made = enrichment(vectors=form)(records, headed_encoder, LABEL, room).batch
    assert made.schema.names == ["id", "text", "embedding", "model_version", *score_names]
    assert made.schema == enrichment(vectors=form).schema(records.schema, headed_encoder)
    made.validate(full=True)
    plain = enrichment(vectors=form, heads=())(records, headed_encoder, LABEL).batch
    assert plain.schema.names == ["id", "text", "embedding", "model_version"]
    largest = np.abs(
        vectors(Enriched(made, {})).astype(float) - vectors(Enriched(plain, {})).astype(float)
    ).max()
    assert largest <= (1 if dtype == "int8" else 0)
    expected = score_columns(headed_encoder.heads, headed_encoder.encode(TEXTS), TEXTS)
    assert [made[name].to_pylist() for name in score_names] == [column.to_pylist() for column in expected]


def test_heads_are_chosen(headed_encoder):
    made = enrichment(heads=("odd",))(batch(TEXTS), headed_encoder, LABEL).batch
    assert made.schema.names[-3:] == ["model_version", "odd_distance", "odd_novel"]
    with pytest.raises(
        ConfigurationError, match="no head 'nope': it has event, fraud, incident, known, odd, tags"
    ):
        enrichment(heads=("nope",))(batch(TEXTS), headed_encoder, LABEL)


def test_a_column_named_as_a_heads_must_be_left_out(headed_encoder):
    records = batch(TEXTS, odd_novel=pa.array([True] * len(TEXTS)))
    with pytest.raises(
        ConfigurationError, match="'odd_novel', and Millstream adds one of this name: leave it out"
    ):
        enrichment().schema(records.schema, headed_encoder)
    assert enrichment(heads=("fraud",)).schema(records.schema, headed_encoder).names[2] == "odd_novel"


def test_a_model_is_accepted_if_it_has_the_heads_and_adds_nothing_that_is_kept(headed_encoder, encoder):
    enrichment(heads=("odd",)).accept(headed_encoder)
    enrichment(keep=("id",)).accept(encoder)
    with pytest.raises(ConfigurationError, match="no head 'odd'"):
        enrichment(heads=("odd",)).accept(encoder)
    with pytest.raises(ConfigurationError, match="'tags_scores', and Millstream adds one"):
        enrichment(keep=("id", "tags_scores")).accept(headed_encoder)


def test_a_model_is_accepted_if_it_adds_what_conditions_ask_for(headed_encoder, encoder):
    odd = enrichment(conditions=(Condition.parse("odd_novel and odd_distance > 0.5"),))
    odd.accept(headed_encoder)
    for without in (odd, replace(odd, heads=("fraud",))):
        with pytest.raises(ConfigurationError, match=r"condition 'odd_novel and .*no column 'odd_novel'"):
            without.accept(encoder if without is odd else headed_encoder)


class PanicException(BaseException):
    """As PyO3 raises it when Rust code panics, for example in a tokenizer."""


class Touchy:
    """An encoder that a text makes panic."""

    def __init__(self, encoder, error):
        self._encoder, self._error = encoder, error
        self.dim, self.heads = encoder.dim, encoder.heads

    def encode(self, texts, **options):
        if "boom" in texts.to_pylist():
            raise self._error
        return self._encoder.encode(texts, **options)


@pytest.mark.parametrize("with_room", [False, True])
@pytest.mark.parametrize("error", [PanicException("index out of bounds"), pa.ArrowInvalid("no")])
def test_a_row_that_raises_leaves_alone(error, with_room, encoder):
    texts = [f"login failed {row}" for row in range(20)]
    expected = encoder.encode([text for row, text in enumerate(texts) if row not in (3, 4, 19)])
    for row in (3, 4, 19):
        texts[row] = "boom"
    room = np.empty((20, encoder.dim), np.float32) if with_room else None
    enriched = enrichment()(batch(texts), Touchy(encoder, error), LABEL, room)
    assert enriched.bad == dict.fromkeys([3, 4, 19], f"{type(error).__name__}: {error}")
    assert np.array_equal(vectors(enriched), expected)
    assert enriched.batch.schema == enrichment().schema(batch(texts).schema, encoder)
    assert enrichment()(batch(["boom"]), Touchy(encoder, error), LABEL).batch.num_rows == 0


def test_a_model_that_is_out_of_memory_stays_an_error(encoder):
    with pytest.raises(MemoryError):
        enrichment()(batch(["boom", "paid"]), Touchy(encoder, MemoryError()), LABEL)
