"""Messages that are Arrow IPC streams."""

import pyarrow as pa

__all__ = ["rows_of", "stream_of"]


def stream_of(*batches, compression=None):
    """A message with the rows of batches of one schema; a dictionary of lists is a batch."""
    found = [pa.record_batch(one) if isinstance(one, dict) else one for one in batches]
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, found[0].schema, options=options) as writer:
        for batch in found:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def rows_of(stream):
    """The rows of a message."""
    return pa.ipc.open_stream(stream).read_all().to_pylist()
