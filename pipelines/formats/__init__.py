"""Bytes become Arrow: files of text, CSV and JSON lines; messages in JSON, Avro, Protobuf, Arrow. No I/O."""

from typing import Literal

__all__ = [
    "FileFormat",
    "InputFormat",
    "MessageFormat",
    "OutputFormat",
    "PlainFormat",
    "RecordFormat",
    "StreamFormat",
    "StreamInputFormat",
]

FileFormat = Literal["parquet", "jsonl", "csv", "text"]
"""Files of records."""

PlainFormat = Literal["json", "text"]
"""Values of messages that need no schema."""

InputFormat = Literal[PlainFormat, "avro", "protobuf", "arrow"]
"""Values of messages that are read."""

StreamInputFormat = Literal[PlainFormat, "arrow"]
"""Values of messages that a stream reads."""

StreamFormat = Literal[FileFormat, "arrow"]
"""What a stream reads: files, or values of messages."""

RecordFormat = Literal["json", "msgpack"]
"""Values of messages of one record each, without a schema."""

MessageFormat = Literal[RecordFormat, "arrow"]
"""Values of messages without a schema: one record each, or a batch of many as an Arrow IPC stream."""

OutputFormat = Literal[RecordFormat, "avro", "arrow"]
"""Values of messages that are written."""
