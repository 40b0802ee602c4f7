"""Tables in a folder, one of each format."""

import pytest
from lakes import FORMATS, Lake

from pipelines.sinks.tables.outputs import open_table
from pipelines.sinks.tables.partitioning import parse_partition_by


@pytest.fixture
def lake(tmp_path):
    with Lake.in_folder(tmp_path / "lake").known() as lake:
        yield lake


@pytest.fixture(params=FORMATS)
def form(request):
    return request.param


@pytest.fixture
def open_events(lake, form):
    """Opens the table again, as another process does."""

    def opened(partition_by=None):
        target = lake.target(form).partition(":")[2]
        return open_table(form, target, parse_partition_by(partition_by))

    return opened
