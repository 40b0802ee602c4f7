"""A library that is not installed is named with the extra that brings it."""

import importlib
import sys

import pytest

from encoder.errors import MissingExtra

LIBRARIES = {"polars": "polars", "duckdb": "duckdb", "pandas": "pandas", "spark": "pyspark", "daft": "daft"}


@pytest.mark.parametrize("module", LIBRARIES)
def test_a_library_that_is_not_there_is_named(module, monkeypatch):
    library = LIBRARIES[module]
    monkeypatch.delitem(sys.modules, f"pipelines.dataframes.{module}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    way_out = rf"{library}(\.\w+)* is not installed: pip install 'millstream\[{module}\]'"
    with pytest.raises(MissingExtra, match=way_out):
        importlib.import_module(f"pipelines.dataframes.{module}")
