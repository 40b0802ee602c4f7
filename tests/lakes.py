"""Tables for the tests: an Iceberg catalog in SQLite, and Delta tables, in a folder or in a bucket.

lake = Lake.in_folder(tmp_path)
lake.target("iceberg")          # an output of the worker, `iceberg:lake/fraud.events`
lake.rows("iceberg")            # what PyIceberg reads from it
"""

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError
from pyiceberg import catalog as catalogs
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.utils.config import Config

from pipelines.sinks.tables.iceberg import open_catalog

__all__ = ["CONFLICTS", "FORMATS", "Lake"]

CONFLICTS = (CommitFailedError, CommitFailedException, ValidationException)
"""What a writer is told that was slower than another one."""

FORMATS = ("iceberg", "delta")
_CATALOG = "PYICEBERG_CATALOG__LAKE__"


@dataclass
class Lake:
    """A place for tables, in which each format has one named `events`.

    Attributes:
        root: the URI of the folder or the bucket's folder.
        folder: where the catalog is.
        environment: what PyIceberg and deltalake are to find in theirs.
    """

    root: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def in_folder(cls, folder):
        """Tables in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder.as_uri(), folder, _catalog(folder, folder.as_uri()))

    @classmethod
    def in_bucket(cls, folder, s3, name):
        """Tables in a bucket of an S3Server; the catalog stays in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        root, own = f"s3://{s3.bucket}/{name}", s3.environment
        access = {
            f"{_CATALOG}S3__ENDPOINT": own["AWS_ENDPOINT_URL"],
            f"{_CATALOG}S3__ACCESS_KEY_ID": own["AWS_ACCESS_KEY_ID"],
            f"{_CATALOG}S3__SECRET_ACCESS_KEY": own["AWS_SECRET_ACCESS_KEY"],
            f"{_CATALOG}S3__REGION": own.get("AWS_REGION", "us-east-1"),
        }
        return cls(root, folder, {**own, **_catalog(folder, root), **access})

    def target(self, form):
        """The output that names the table."""
        return f"delta:{self.root}/delta/events" if form == "delta" else "iceberg:lake/fraud.events"

    def through(self, endpoint):
        """The environment in which the bucket is reached by another address."""
        plain = {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}  # else PyArrow sends chunks
        return {
            **self.environment,
            **plain,
            "AWS_ENDPOINT_URL": endpoint,
            f"{_CATALOG}S3__ENDPOINT": endpoint,
        }

    @contextmanager
    def known(self):
        """This process finds the tables; the catalog has its namespace."""
        before, config = dict(os.environ), catalogs._ENV_CONFIG
        os.environ.update(self.environment)
        catalogs._ENV_CONFIG = Config()  # PyIceberg reads the environment once
        try:
            self.catalog().create_namespace_if_not_exists("fraud")
            yield self
        finally:
            os.environ.clear()
            os.environ.update(before)
            catalogs._ENV_CONFIG = config

    def catalog(self):
        """The Iceberg catalog."""
        return open_catalog("lake")

    def iceberg(self):
        """PyIceberg's table."""
        return self.catalog().load_table("fraud.events")

    def delta(self):
        """deltalake's table."""
        return DeltaTable(f"{self.root}/delta/events", storage_options=self._options())

    def _options(self):
        if not self.root.startswith("s3:"):
            return {}
        own = {key: value for key, value in self.environment.items() if key.startswith("AWS_")}
        return {**own, "AWS_ALLOW_HTTP": "true"}

    def rows(self, form):
        """What the format's own library reads from the table; nothing if there is none."""
        if not self.exists(form):
            return pa.table({})
        if form == "iceberg":
            return self.iceberg().scan().to_arrow()
        return pa.table(self.delta().to_pyarrow_dataset().to_table())

    def exists(self, form):
        """Whether there is a table."""
        if form == "iceberg":
            return self.catalog().table_exists("fraud.events")
        return DeltaTable.is_deltatable(f"{self.root}/delta/events", self._options())

    def n_commits(self, form):
        """How many commits have added files."""
        if not self.exists(form):
            return 0
        if form == "iceberg":
            snapshots = self.iceberg().metadata.snapshots
            return sum("added-data-files" in one.summary.additional_properties for one in snapshots)
        return sum(one["operation"] == "WRITE" for one in self.delta().history())

    def append(self, form, rows):
        """Append rows as a program does that knows nothing of Millstream."""
        if form == "iceberg":
            self.iceberg().append(rows)
        else:
            write_deltalake(self.delta(), rows, mode="append")

    def compact(self, form):
        """Rewrite all files as one, as a compaction does."""
        if form == "iceberg":
            table = self.iceberg()
            table.overwrite(table.scan().to_arrow())
        else:
            self.delta().optimize.compact()

    def properties(self, form):
        """The table's properties."""
        return self.iceberg().properties if form == "iceberg" else self.delta().metadata().configuration

    def claim(self, form):
        """What a worker's marker says."""
        return json.loads(self.properties(form)["millstream.worker"])


def _catalog(folder, warehouse):
    return {
        f"{_CATALOG}TYPE": "sql",
        f"{_CATALOG}URI": f"sqlite:///{folder}/catalog.db?timeout=60",
        f"{_CATALOG}WAREHOUSE": f"{warehouse}/iceberg",
    }
