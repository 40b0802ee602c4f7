"""A Parquet part of one batch, as backfills write them."""


def write_batch(parts, name, batch, metadata):
    with parts.new(name, batch.schema) as part:
        part.write(batch)
        part.describe(metadata)
