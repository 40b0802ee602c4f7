import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.enrich.columns import repeated


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
