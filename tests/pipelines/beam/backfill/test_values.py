"""Values of every type go through a backfill as they are: Parquet in, records, enrichment, Parquet out."""

import tempfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from pipelines.enrich.enrichment import Enrichment
from pipelines.records.template import TextTemplate
from pipelines.sinks.parquet import ParquetParts
from pipelines.sources.files.discovery import find_inputs
from pipelines.sources.files.reader import read_split
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.splits import split_file

N = 3  # rows
FIRST, LAST = -62_135_596_800, 253_402_300_799  # seconds of the years 1 and 9999


def bounds(low, high):
    return st.sampled_from([low, high, low + 1, high - 1, 0, 1]) | st.integers(low, high)


def arrays(values, kind, storage=None):
    """Arrays of `N` values, some of them null."""
    columns = st.lists(st.none() | values, min_size=N, max_size=N)
    return columns.map(lambda column: pa.array(column, storage or kind).cast(kind))


def whole(bits, *, signed):
    low = -(2 ** (bits - 1)) if signed else 0
    kind = getattr(pa, f"{'' if signed else 'u'}int{bits}")()
    return arrays(bounds(low, low + 2**bits - 1), kind)


def timestamps(unit, zone):
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    limits = (-(2**63), 2**63 - 1) if unit == "ns" else (FIRST * scale, LAST * scale + scale - 1)
    return arrays(bounds(*limits), pa.timestamp(unit, zone), pa.int64())


def decimals(kind):
    top = 10**kind.precision - 1
    return arrays(bounds(-top, top).map(lambda n: Decimal(f"{n}E-{kind.scale}")), kind)


def numbers(kind, storage, high, low=0):
    return arrays(bounds(low, high), kind, storage)


FLOATS = {16: np.float16, 32: np.float32, 64: np.float64}
DECIMALS = [pa.decimal128(5, 2), pa.decimal128(38, 0), pa.decimal128(38, 38), pa.decimal256(76, 40)]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=15)
LEAVES = st.one_of(
    *(whole(bits, signed=signed) for bits in (8, 16, 32, 64) for signed in (True, False)),
    *(
        arrays(st.floats(allow_nan=False, width=bits).map(kind), getattr(pa, f"float{bits}")())
        for bits, kind in FLOATS.items()
    ),
    *(timestamps(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Europe/Paris")),
    *(decimals(kind) for kind in DECIMALS),
    *(arrays(TEXT, kind) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    *(arrays(st.binary(max_size=15), kind) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())),
    arrays(st.binary(min_size=3, max_size=3), pa.binary(3)),
    arrays(st.booleans(), pa.bool_()),
    numbers(pa.date32(), pa.int32(), 2**31 - 1, -(2**31)),
    numbers(pa.time32("s"), pa.int32(), 86_399),
    numbers(pa.time32("ms"), pa.int32(), 86_399_999),
    numbers(pa.time64("us"), pa.int64(), 86_399_999_999),
    numbers(pa.time64("ns"), pa.int64(), 86_399_999_999_999),
    *(numbers(pa.duration(unit), pa.int64(), 2**63 - 1, -(2**63)) for unit in ("ms", "us", "ns")),
    arrays(st.binary(min_size=16, max_size=16), pa.uuid(), pa.binary(16)),
    arrays(st.just('{"a":1}'), pa.json_(), pa.string()),
    arrays(TEXT, pa.string()).map(lambda values: values.dictionary_encode()),
    st.just(pa.nulls(N)),
)


def listed(values):
    offsets = pa.array([0, 1, 1, N], pa.int32())
    return pa.ListArray.from_arrays(offsets, values, mask=pa.array([False, True, False]))


def mapped(values):
    return pa.MapArray.from_arrays([0, 2, 2, N], pa.array(list("abc")), values)


COLUMNS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(listed),
        inner.map(mapped),
        st.tuples(inner, inner).map(lambda pair: pa.StructArray.from_arrays(list(pair), ["a", "b"])),
    ),
    max_leaves=3,
)


def backfilled(column, encoder, folder):
    """What a backfill writes of a column."""
    source, target = Path(folder, "in"), Path(folder, "out")
    source.mkdir()
    try:
        pq.write_table(pa.table({"x": column, "text": ["login failed"] * len(column)}), source / "a.parquet")
    except pa.ArrowNotImplementedError:  # pyarrow itself cannot write it, as views in lists of structs
        reject()
    files = find_inputs(str(source))
    schema = infer_schema(files, ["text"], ["x"])
    enrichment = Enrichment(TextTemplate.parse("{text} {x}"), ("x",))
    [chunk] = [chunk for split in split_file(files[0]) for chunk in read_split(split, schema)]
    assert not chunk.bad
    enriched = enrichment(chunk.batch, encoder, "m@1")
    assert not enriched.bad
    with ParquetParts(str(target)).new("a.parquet", enriched.batch.schema) as part:
        part.write(enriched.batch)
    return pq.read_table(target / "a.parquet").column("x").combine_chunks()


@settings(deadline=None, max_examples=25)
@given(COLUMNS)
def test_kept_columns_have_the_values_of_the_input(encoder, column):
    with tempfile.TemporaryDirectory() as folder:
        found = backfilled(column, encoder, folder)
    found.validate(full=True)
    plain = column if found.type == column.type else cast(column, found.type)
    assert found.equals(plain), (column.type, found.type)


def cast(values, kind):
    """The values in a type that holds the same: seconds in milliseconds, views and dictionaries plain."""
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    return values.cast(kind, safe=True)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_numbers_that_are_none_are_kept(kind, encoder, tmp_path):
    values = [float(x) for x in ("nan", "inf", "-inf", "-0.0")]
    found = backfilled(pa.array(values).cast(kind), encoder, tmp_path)
    assert found.type == kind
    assert str(found.to_pylist()) == str(values)
