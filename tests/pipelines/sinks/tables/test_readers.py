"""Tables as other engines read them."""

from datetime import UTC, datetime

import polars as pl
import pyarrow as pa

from pipelines.sinks.tables.columns import as_stored

AT = [datetime(2026, 1, 31, 23, 59, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)]


def test_polars_reads_vectors_scores_and_partitions(open_events, lake, form, monkeypatch):
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")  # its own is a package of its own
    rows = pa.table(
        {
            "at": pa.array(AT, pa.timestamp("us", "UTC")),
            "embedding": pa.array([[1, 2], [3, 4]], pa.list_(pa.float16(), 2)),
            "kind_label": pa.array(["a", "b"]).dictionary_encode(),
            "tags_scores": pa.array([{"a": 0.5, "b": 1}, {"a": 0, "b": 0.25}]),
        }
    )
    table = open_events("day(at)")
    table.create(table.stored(rows.schema))
    state = table.look()
    state.append(state.write(as_stored(rows, state.schema), 1 << 20), {})
    frame = pl.scan_iceberg(lake.iceberg()) if form == "iceberg" else pl.scan_delta(lake.delta())
    found = frame.filter(pl.col("at") >= AT[0]).select(rows.column_names).sort("at").collect()
    assert found.to_dicts() == rows.to_pylist()
    assert found["embedding"].dtype == pl.List(pl.Float32)
    assert frame.filter(pl.col("at") > AT[0]).collect()["kind_label"].to_list() == ["b"]
