"""Numbered records as rows of Arrow messages: what goes in, and what comes out of a topic."""

import pyarrow as pa
from arrow_messages import rows_of, stream_of

__all__ = ["BAD_ROW", "DAMAGED", "letter_of", "message_of", "records_of"]

DAMAGED, BAD_ROW = b"\xff\xff\xff\xff damaged", b"\xff"
"""A message that cannot be read, and a text that is not UTF-8."""


def message_of(records):
    """A message with numbered rows, and their texts as bytes."""
    texts = pa.array([text for _, text in records], pa.binary()).view(pa.string())
    return stream_of({"seq": [seq for seq, _ in records], "text": texts})


def records_of(message):
    """The keys and values of the records in a message of the output, and their versions."""
    rows = rows_of(message.value())
    versions = {row["model_version"] for row in rows}
    return [(str(row["seq"]), (row["seq"], row["text"])) for row in rows], versions


def letter_of(message):
    """The key of a dead letter, and its value: the message, or the text of the row."""
    if message.value() == DAMAGED:
        return message.key().decode(), DAMAGED
    table = pa.ipc.open_stream(message.value()).read_all()
    [text] = table["text"].combine_chunks().view(pa.binary()).to_pylist()
    return str(table["seq"][0].as_py()), text
