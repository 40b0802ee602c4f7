"""Embeddings where tables already live: Arrow, Polars, DuckDB, pandas, Spark, Daft.

Each module has the library's own form of the same thing, on `ArrowEmbedder`.
"""
