"""Fields of JSON that no column holds: they are left out, counted, and named in the log."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

__all__ = ["OTHERS", "LeftOut", "merged"]

OTHERS = "(others)"
"""Stands for the fields after the first hundred."""

_log = logging.getLogger(__name__)
_NAMES = 100
_LOGGED_AT = (1, 10, _NAMES)  # names: a log line each
_WINDOWS, _WINDOW, _LINES = 8, 4096, 12  # where a block is looked at, the bytes and the lines of each place
_APART = 1 << 18  # bytes between these places, at least
_MANY = 3  # new names there, or in a block, with which pyarrow's columns would be too many
_SHOWN = 20
_decoder = msgspec.json.Decoder(dict[str, Any])

_known: dict[str, set[str]] = {}  # the names that were logged, by input

_Wanted = dict[str, Any]  # the fields of a struct, and those inside them; None for a value without fields

Read = Callable[[str], pa.Table]
"""Reads a block with a way to treat unexpected fields, `ignore` or `infer`; raises `ArrowInvalid`."""


def merged(*counts: Mapping[str, int]) -> dict[str, int]:
    """The sums of counts by name; of at most a hundred names, and of all others together."""
    found: dict[str, int] = {}
    for name, n in (pair for one in counts for pair in one.items()):
        key = name if name in found or len(found) < _NAMES else OTHERS
        found[key] = found.get(key, 0) + n
    return found


class LeftOut:
    """Counts the values of fields that are in no column.

    Args:
        schema: the columns.
        name: of the input, for the log.
    """

    def __init__(self, schema: pa.Schema, name: str) -> None:
        self._schema, self._name = schema, name
        self._block: Counter[str] = Counter()
        self._untaken: Counter[str] = Counter()
        self._wanted = _fields(schema)
        self._has_many = False

    def table(self, data: pa.Buffer | bytes, read: Read) -> pa.Table:
        """Read a block, and look at the fields that are no columns; `keep` counts them.

        Raises:
            pa.ArrowInvalid: a row is not readable.
        """
        self._block = Counter()
        self._has_many = self._has_many or self._shows_many(data)
        if not self._has_many:
            try:
                table = read("infer")
            except pa.ArrowInvalid:  # perhaps for the types of fields that are no columns
                pass
            else:
                self._block = _extra(table, table.schema, self._schema)
                self._has_many = len(self._block) > _MANY
                fit = all(table.schema.field(field.name).type == field.type for field in self._schema)
                return table.select(self._schema.names) if fit else read("ignore")
        table = read("ignore")
        self._block = self._of_lines(data)
        return table

    def keep(self) -> None:
        """Count what the block that was read last leaves out, and log names that are new."""
        self.add(self._block)
        self._block = Counter()

    def add(self, counts: Counter[str]) -> None:
        """Count values by their fields, and log names that are new."""
        self._untaken.update(counts)
        known = _known.setdefault(self._name, set())
        n_before = len(known)
        known.update(list(counts)[: _NAMES - n_before])
        if any(n_before < n <= len(known) for n in _LOGGED_AT):
            shown = sorted(known)[:_SHOWN]
            _log.warning(
                "%s: fields without a column are left out: %s%s",
                self._name,
                " ".join(", ".join(shown).split()),
                f" and {len(known) - len(shown)} more" if len(known) > len(shown) else "",
            )

    def of_records(self, records: Sequence[Mapping[str, Any]]) -> int:
        """Count what records leave out at their top level; returns the number of values."""
        names = set().union(*records).difference(self._wanted)
        counts = Counter(name for one in records for name in names if one.get(name) is not None)
        if counts:
            self.add(counts)
        return counts.total()

    def of_columns(self, batch: pa.RecordBatch) -> int:
        """Count what columns leave out, structs included; returns the number of values."""
        if batch.schema.equals(self._schema):
            return 0
        counts = _extra(pa.Table.from_batches([batch]), batch.schema, self._schema)
        if counts:
            self.add(counts)
        return counts.total()

    def take(self) -> dict[str, int]:
        """How many values of each field were left out since the last call."""
        found, self._untaken = merged(self._untaken), Counter()
        return found

    def _shows_many(self, data: pa.Buffer | bytes) -> bool:
        """Whether a few of the rows show many new fields, each of which pyarrow would make a column."""
        view = memoryview(data)
        names: set[str] = set()
        for start in range(0, len(view), max(_APART, len(view) // _WINDOWS)):
            for line in bytes(view[start : start + _WINDOW]).split(b"\n", _LINES)[bool(start) : _LINES]:
                names.update(_left_out(line, self._wanted))
        return len(names) > _MANY

    def _of_lines(self, data: pa.Buffer | bytes) -> Counter[str]:
        """The same as `_extra`, row by row."""
        return Counter(name for line in bytes(data).split(b"\n") for name in _left_out(line, self._wanted))


def _fields(fields: Iterable[pa.Field]) -> _Wanted:
    return {field.name: _inside(field.type) for field in fields}


def _inside(kind: pa.DataType) -> _Wanted | None:
    if pt.is_list(kind):
        return _inside(kind.value_type)
    return _fields(kind) if pt.is_struct(kind) else None


def _left_out(line: bytes, wanted: _Wanted) -> list[str]:
    """The fields of a line that are not null and not wanted."""
    try:
        return list(_unwanted(_decoder.decode(line), wanted, ""))
    except (msgspec.MsgspecError, RecursionError):  # blank, or a part of an object
        return []


def _unwanted(value: Any, wanted: _Wanted | None, prefix: str) -> Iterator[str]:
    if wanted is None:
        return
    if type(value) is list:
        for item in value:
            yield from _unwanted(item, wanted, prefix)
    elif type(value) is dict:
        for name, inner in value.items():
            if name in wanted:
                yield from _unwanted(inner, wanted[name], f"{prefix}{name}.")
            elif inner is not None:
                yield prefix + name


def _extra(
    columns: pa.Table | pa.ChunkedArray,
    found: Iterable[pa.Field],
    wanted: Iterable[pa.Field],
    prefix: str = "",
) -> Counter[str]:
    """How many values there are of the fields that are found but not wanted, by dotted names."""
    kinds = {field.name: field.type for field in wanted}
    extra: Counter[str] = Counter()
    for number, field in enumerate(found):
        is_known = field.name in kinds
        if is_known and kinds[field.name] == field.type:
            continue
        values = (
            columns.column(number) if isinstance(columns, pa.Table) else pc.struct_field(columns, [number])
        )
        name = prefix + field.name
        if not is_known:
            extra[name] += len(values) - values.null_count
            continue
        extra += _inner(values, field.type, kinds[field.name], name)
    return +extra


def _inner(values: pa.ChunkedArray, found: pa.DataType, wanted: pa.DataType, name: str) -> Counter[str]:
    if pt.is_struct(found) and pt.is_struct(wanted):
        return _extra(values, found, wanted, f"{name}.")
    if pt.is_list(found) and pt.is_list(wanted):
        return _inner(pc.list_flatten(values), found.value_type, wanted.value_type, name)
    return Counter()
