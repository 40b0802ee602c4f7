"""Opens tables again, as other processes do."""

import pytest

from pipelines.sinks.tables.outputs import open_table
from pipelines.sinks.tables.partitioning import parse_partition_by


@pytest.fixture
def open_events(lake, form):
    """Opens the table again, as another process does."""

    def opened(partition_by=None):
        target = lake.target(form).partition(":")[2]
        return open_table(form, target, parse_partition_by(partition_by))

    return opened
