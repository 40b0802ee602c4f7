"""A library that is not installed is named with the extra that brings it."""

import importlib
import sys

import pytest

from encoder.errors import MissingExtra


@pytest.mark.parametrize("library", ["polars", "duckdb", "pandas"])
def test_a_library_that_is_not_there_is_named(library, monkeypatch):
    monkeypatch.delitem(sys.modules, f"pipelines.dataframes.{library}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        MissingExtra, match=rf"{library} is not installed: pip install 'millstream\[{library}\]'"
    ):
        importlib.import_module(f"pipelines.dataframes.{library}")
