"""Protobuf schemas of a registry as descriptors, from their serialized form or compiled from their text.

Confluent's registry has both; others may have only the text. Common imports, such as
`google/protobuf/timestamp.proto`, come with the libraries.
"""

import base64
import binascii
import importlib
import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from encoder.errors import MissingExtra
from pipelines.formats.schema_registry import Schema, SchemaError
from pipelines.records.bad_rows import one_line

__all__ = ["message_type", "schema_file"]

_COMPILE_SECONDS = 30.0
_MAIN = "millstream_schema.proto"
_KNOWN = re.compile(r"(google|confluent)/[a-z0-9_/]+\.proto")
_CONFLUENT = "confluent_kafka.schema_registry."


def schema_file(schema: Schema) -> tuple[FileDescriptorProto, DescriptorPool]:
    """The file of a schema, and a pool with it and all its imports.

    Raises:
        SchemaError: it is no Protobuf schema, or an import is missing.
        MissingExtra: it is text, and the compiler is not installed.
    """
    texts = {**schema.parts, _MAIN: schema.text}
    files = {name: file for name, text in texts.items() if (file := _serialized(name, text)) is not None}
    if len(files) < len(texts):
        files = {file.name: file for file in _compiled(texts)}
    pool = DescriptorPool()
    try:
        _add(files, _MAIN, pool, set())
    except (TypeError, ImportError) as error:  # how the pool reports an invalid file
        raise SchemaError(f"it cannot be read: {one_line(error)}") from error
    return files[_MAIN], pool


def _serialized(name: str, text: str) -> FileDescriptorProto | None:
    """A file from its serialized form, or None if the text is not one."""
    try:
        file = FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, DecodeError):
        return None
    file.name = name
    return file


def _add(files: dict[str, FileDescriptorProto], name: str, pool: Any, done: set[str]) -> None:
    """Add a file to the pool after its imports."""
    if name in done:
        return
    done.add(name)
    file = files.get(name) or _known(name)
    for needed in file.dependency:
        _add(files, needed, pool, done)
    pool.Add(file)


def _known(name: str) -> FileDescriptorProto:
    """A file from the libraries."""
    if not _KNOWN.fullmatch(name):
        raise SchemaError(f"it imports {name!r}, which is not among its references")
    module = name.removesuffix(".proto").replace("/", ".") + "_pb2"
    made = importlib.import_module(_CONFLUENT + module if name.startswith("confluent/") else module)
    return FileDescriptorProto.FromString(made.DESCRIPTOR.serialized_pb)


def _compiled(texts: dict[str, str]) -> Iterable[FileDescriptorProto]:
    """Compile texts and their imports with protoc."""
    if importlib.util.find_spec("grpc_tools") is None:
        raise MissingExtra("grpc_tools", "kafka-schemas")
    with tempfile.TemporaryDirectory(prefix="millstream-proto-") as folder:
        for name, text in texts.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise SchemaError(f"it imports {name!r}, which is not a file name")
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
        set_file = Path(folder, "millstream.descriptors")
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", *_includes()]
        command += ["--include_imports", f"--descriptor_set_out={set_file}", _MAIN]
        try:
            done = subprocess.run(  # noqa: S603 - the names in it are ours
                command, capture_output=True, text=True, check=False, timeout=_COMPILE_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise SchemaError(f"protoc did not compile it in {_COMPILE_SECONDS:.0f} s") from error
        if done.returncode or not set_file.exists():
            raise SchemaError(f"protoc does not compile it: {' '.join(done.stderr.split())}")
        return list(FileDescriptorSet.FromString(set_file.read_bytes()).file)


def _includes() -> list[str]:
    """Where the libraries keep `google/type/…`; protoc finds `google/protobuf/…` by itself."""
    spec = importlib.util.find_spec("google.type")
    return [
        f"-I{Path(place).parents[1]}" for place in (spec.submodule_search_locations or () if spec else ())
    ]


def message_type(file: FileDescriptorProto, pool: Any, indexes: tuple[int, ...]) -> Any:
    """The descriptor of a message.

    Args:
        file: of the schema.
        pool: with the file.
        indexes: of the message in the file, and of nested messages, outermost first.

    Raises:
        SchemaError: there is no such message.
    """
    names = [file.package] if file.package else []
    inside = file.message_type
    for index in indexes:
        if index >= len(inside):
            raise SchemaError(f"it has no message {list(indexes)}")
        names.append(inside[index].name)
        inside = inside[index].nested_type
    return pool.FindMessageTypeByName(".".join(names))
