"""`millstream encode`: lines of text in, their vectors out, or the lines nearest to a text."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import typer

from encoder.arrays.dtypes import Dtype
from encoder.errors import ConfigurationError, InputError
from pipelines.cli.console import ErrorConsole, size_text
from pipelines.cli.encode.lines import LineReader, LineSource, find_sources
from pipelines.cli.encode.neighbours import Neighbours
from pipelines.cli.encode.outputs import EncodeFormat, choose_format, open_output, open_writer
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import Encoding, Model, input_option, neighbours_option, output_option
from pipelines.records.encodings import check_encoding

__all__ = ["encode"]

_GROUP_ROWS, _GROUP_BYTES = 65_536, 64 << 20  # of a row group of Parquet


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where the vectors go, and how they are written."""

    output: Annotated[
        Path | None,
        output_option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write. It appears when it is complete.",
            show_default="standard output",
        ),
    ] = None
    output_format: Annotated[
        EncodeFormat | None,
        output_option(
            "--format",
            metavar="FORMAT",
            help="Output format: npy, parquet, jsonl, or raw for the bytes of the vectors.",
            show_default="by the extension of --output, else jsonl",
        ),
    ] = None
    dtype: Annotated[
        Dtype | None,
        output_option(
            metavar="TYPE",
            help="Type of the vector elements: float32, float16 or int8, which scales each vector to ±127.",
            show_default="float32",
        ),
    ] = None

    def check_not_an_input(self, sources: Sequence[LineSource]) -> None:
        """Check that the output is none of the files to read.

        Raises:
            ConfigurationError: it is one.
        """
        output = self.output
        if output is not None and output.exists():
            for source in sources:
                path = Path(source.name)
                if source.file is not None and path.exists() and output.samefile(path):
                    raise ConfigurationError(f"{output} is an input too: name another --output")


@dataclass(frozen=True, kw_only=True)
class NeighbourOptions:
    """Which lines to print instead of vectors."""

    neighbours: Annotated[
        str | None,
        neighbours_option(
            metavar="TEXT",
            help="Print the lines nearest to TEXT and their cosine similarity, instead of vectors.",
        ),
    ] = None
    top: Annotated[
        int | None, neighbours_option(min=1, metavar="N", help="Number of lines to print.", show_default="10")
    ] = None


@expand_options
def encode(
    *,
    model: Model,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="Files, folders or globs, one text per line; .gz and .zst too. None or - is standard input.",
        ),
    ] = None,
    invalid_utf8: Annotated[
        Literal["error", "replace"],
        input_option(
            metavar="ACTION", help="For bytes that are not UTF-8: error, or replace them with U+FFFD."
        ),
    ] = "error",
    encoding: Encoding = None,
    writing: OutputOptions,
    nearest: NeighbourOptions,
) -> None:
    """Encode lines of text as vectors, or find the lines nearest to a text.

    Row N of the output is the vector of line N. Lines end in LF or CRLF. A line without tokens, such as an
    empty one, gets a vector of zeros. With --neighbours, a repeated line is printed once.

    For example:

    millstream encode --model ./minilm -o app.npy app.log

    zcat app.log.gz | millstream encode --model ./minilm --neighbours "disk full"
    """
    _check(writing, nearest)
    sources = find_sources(files or [], encoding and check_encoding(encoding))
    reader = LineReader(sources, replace=invalid_utf8 == "replace")
    console = ErrorConsole()
    if any(source.file is None for source in sources) and sys.stdin.isatty():
        console.print("reading lines from the terminal: Ctrl-D ends them")
    if nearest.neighbours is not None:
        as_json = writing.output_format == "jsonl"
        _print_neighbours(model, reader, nearest.neighbours, nearest.top or 10, as_json=as_json)
    else:
        writing.check_not_an_input(sources)
        _write_vectors(model, reader, console, writing)
    for name, guessed in reader.guessed.items():
        console.print(f"{name}: guessed encoding {guessed}; to change it, set --encoding")
    if reader.n_replaced:
        console.print(f"{reader.n_replaced:,} lines are not UTF-8: their bytes were replaced with U+FFFD")


def _check(writing: OutputOptions, nearest: NeighbourOptions) -> None:
    """Refuse options that would do nothing."""
    if nearest.neighbours is None:
        if nearest.top is not None:
            raise ConfigurationError("--top is for --neighbours: give both, or neither")
    elif (writing.output, writing.dtype) != (None, None) or writing.output_format not in (None, "jsonl"):
        raise ConfigurationError(
            "--neighbours prints lines, not vectors: leave out --output, --dtype and any --format but jsonl"
        )


def _write_vectors(model: str, reader: LineReader, console: ErrorConsole, writing: OutputOptions) -> None:
    output, dtype = writing.output, writing.dtype or "float32"
    kind = choose_format(output, writing.output_format)
    from encoder.encoder import Encoder
    from pipelines.enrich.columns import VectorFormat

    encoder = Encoder.load(model)
    manifest = encoder.manifest
    label = Path(model).absolute().name if manifest is None else f"{manifest.name}@{manifest.version}"
    begin = time.monotonic()
    batches: Iterable[pa.Array | pa.ChunkedArray] = _groups(reader) if kind == "parquet" else reader
    room = np.empty((0, encoder.dim), np.dtype(dtype))  # one array for all batches
    with open_output(output, seekable=kind == "npy") as file:
        writer = open_writer(kind, file, encoder.dim, VectorFormat("list", dtype), label)
        for texts in batches:
            if len(texts) > len(room):
                room = np.empty((len(texts), encoder.dim), room.dtype)
            writer.write(texts, encoder.encode(texts, dtype=dtype, out=room))
        writer.close()
    if output is not None:
        seconds = time.monotonic() - begin
        size = f", {size_text(output.stat().st_size)}" if output.is_file() else ""
        console.print(
            f"{output}: {reader.n_lines:,} vectors of {encoder.dim} {dtype}{size}; "
            f"{reader.n_lines / max(seconds, 1e-3):,.0f} lines/s"
        )


def _groups(lines: Iterable[pa.StringArray]) -> Iterator[pa.ChunkedArray]:
    """Gather lines for row groups that are large enough to read fast."""
    parts: list[pa.StringArray] = []
    rows = n_bytes = 0
    for part in lines:
        parts.append(part)
        rows, n_bytes = rows + len(part), n_bytes + part.nbytes
        if rows >= _GROUP_ROWS or n_bytes >= _GROUP_BYTES:
            yield pa.chunked_array(parts)
            parts, rows, n_bytes = [], 0, 0
    if parts:
        yield pa.chunked_array(parts)


def _print_neighbours(model: str, reader: LineReader, text: str, top: int, *, as_json: bool) -> None:
    from encoder.encoder import Encoder

    encoder = Encoder.load(model)
    vector = encoder.encode(text)
    if not vector.any():
        raise InputError(f"the model knows no token of --neighbours {text!r}: use other words")
    nearest = Neighbours(vector, top)
    for texts in reader:
        nearest.add(texts, encoder.encode(texts))
    for one in nearest.nearest():
        line = json.dumps(one._asdict(), ensure_ascii=False) if as_json else f"{one.cosine:7.4f}  {one.text}"
        typer.echo(line)
