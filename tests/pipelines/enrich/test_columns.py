import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from encoder import Encoder
from encoder.errors import ConfigurationError
from pipelines.enrich.columns import VectorFormat, parse_heads, repeated, score_columns, score_fields

DTYPES = ["float32", "float16", "int8"]


def values(column, dtype, dim):
    if pa.types.is_fixed_size_binary(column.type):
        return np.frombuffer(b"".join(column.to_pylist()), dtype).reshape(-1, dim)
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)


@pytest.mark.parametrize("dtype", DTYPES)
@given(given_vectors=arrays(np.int8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)))
def test_both_layouts_hold_the_same_elements_and_no_nulls(dtype, given_vectors):
    given_vectors = given_vectors.astype(dtype)
    columns = [VectorFormat(layout, dtype).column(given_vectors) for layout in ("list", "binary")]
    for column in columns:
        column.validate(full=True)
        assert column.null_count == 0
        np.testing.assert_array_equal(values(column, dtype, given_vectors.shape[1]), given_vectors)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["list", "binary"])
def test_the_column_has_the_type_of_the_field(layout, dtype):
    form = VectorFormat(layout, dtype)
    field = form.field(3)
    assert (field.name, field.nullable) == ("embedding", False)
    for n in (0, 2):
        column = form.column(np.ones((n, 3), dtype))
        assert column.type == field.type == form.arrow_type(3)
        assert len(column) == n
    if layout == "binary":
        assert field.type == pa.binary(3 * np.dtype(dtype).itemsize)
    else:
        assert field.type.list_size == 3
        assert not field.type.value_field.nullable


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["list", "binary"])
def test_vectors_are_not_copied(layout, dtype):
    given_vectors = np.ones((5, 4), dtype)
    column = VectorFormat(layout, dtype).column(given_vectors)
    data = column if layout == "binary" else column.flatten()
    assert data.buffers()[1].address == given_vectors.ctypes.data


TEXTS = ["login failed", "card used in tokyo", "disk full", "order paid", ""]


@pytest.fixture(scope="module")
def encoder(headed):
    return Encoder.load(headed(), threads=1)


def test_each_kind_has_its_columns(encoder, score_names):
    fields = score_fields(encoder.heads)
    assert [field.name for field in fields] == score_names
    text = pa.dictionary(pa.int32(), pa.string())
    scores = pa.struct([pa.field(label, pa.float32(), nullable=False) for label in ("a", "b.c", "ü")])
    labels = pa.list_(pa.field("element", pa.string(), nullable=False))
    named = [pa.field(name, pa.string(), nullable=False) for name in ("id", "label")]
    case = pa.struct([*named, pa.field("similarity", pa.float32(), nullable=False)])
    cases = [pa.string(), text, pa.float32(), pa.list_(pa.field("element", case, nullable=False)), text]
    kinds = [
        pa.string(),
        pa.string(),
        pa.float32(),
        text,
        pa.float32(),
        text,
        pa.float32(),
        *cases,
        pa.float32(),
        pa.float32(),
        pa.bool_(),
        labels,
        scores,
    ]
    assert [field.type for field in fields] == kinds
    nullable = [field.name for field in fields if field.nullable]
    assert nullable == [
        "event_group",
        "event_template",
        "incident_nearest",
        "known_id",
        "known_label",
        "known_vote",
    ]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_columns_say_what_the_heads_say(n, encoder):
    vectors = encoder.encode(TEXTS)[:n]
    columns = score_columns(encoder.heads, vectors, pa.array(TEXTS[:n], pa.string()))
    batch = pa.RecordBatch.from_arrays(columns, schema=pa.schema(score_fields(encoder.heads)))
    batch.validate(full=True)
    event, fraud, incident, known, odd, tags = encoder.heads(vectors, TEXTS[:n])
    assert event.group.tolist() == [1, -1, 0, -1, -1][:n]
    assert batch["event_group"].to_pylist() == ["g1", None, "g0", None, None][:n]
    assert batch["event_template"].to_pylist() == ["login failed", None, "disk full", None, None][:n]
    assert np.array_equal(batch["event_similarity"].to_numpy(), event.similarity)
    assert batch["fraud_label"].to_pylist() == [("ham", "spam")[k] for k in fraud.label]
    assert np.array_equal(batch["fraud_score"].to_numpy(), fraud.score)
    assert batch["incident_nearest"].to_pylist() == [
        None if k < 0 else ("fan", "disk")[k] for k in incident.nearest
    ]
    assert np.array_equal(batch["incident_similarity"].to_numpy(), incident.similarity)
    rows = [[f"case/{k}" for k in row if k >= 0] for row in known.case]
    assert [[one["id"] for one in some] for some in batch["known_nearest"].to_pylist()] == rows
    assert batch["known_id"].to_pylist() == [row[0] if row else None for row in rows]
    assert batch["known_label"].to_pylist() == [
        None if row[0] < 0 else ("a", "b.c", "ü")[row[0] % 3] for row in known.case
    ]
    assert np.array_equal(batch["known_similarity"].to_numpy(), known.similarity[:, 0])
    assert np.array_equal(batch["odd_distance"].to_numpy(), odd.distance)
    assert batch["odd_novel"].to_pylist() == odd.novel.tolist()
    for row, (labels, scores) in enumerate(
        zip(batch["tags_labels"].to_pylist(), batch["tags_scores"].to_pylist(), strict=True)
    ):
        assert list(scores) == ["a", "b.c", "ü"]
        assert list(scores.values()) == tags.scores[:, row].tolist()
        assert labels == [label for label, score in scores.items() if score >= 0.5]


def test_some_rows_are_near_a_name_and_some_are_not(encoder):
    nearest = encoder.heads(encoder.encode(TEXTS), TEXTS)[2].nearest
    assert -1 in nearest
    assert nearest.max() >= 0


def test_heads_are_named_on_the_command_line():
    assert parse_heads(None) is None
    assert parse_heads("none") == ()
    assert parse_heads(" odd, fraud,odd ") == ("fraud", "odd")
    with pytest.raises(ConfigurationError, match="--heads is empty"):
        parse_heads(" , ")


@given(st.text(max_size=5), st.integers(0, 5000))
def test_every_row_says_it(text, n_rows):
    column = repeated(text, n_rows)
    column.validate(full=True)
    assert column.type == pa.dictionary(pa.int32(), pa.string())
    assert column.to_pylist() == [text] * n_rows


def test_batches_of_the_same_size_share_it():
    assert repeated("minilm@7", 1000).indices.buffers()[1].address == (
        repeated("minilm@7", 999).indices.buffers()[1].address
    )


def test_a_file_of_a_batch_holds_its_rows_alone():
    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"model_version": repeated("minilm@7", 4097)})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    assert len(sink.getvalue()) < 4097 * 4 + 2000
    assert pa.ipc.open_stream(sink.getvalue()).read_all().num_rows == 4097
