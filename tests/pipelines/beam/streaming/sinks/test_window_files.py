import re

import pytest

from pipelines.beam.streaming.sinks.window_files import FILE_NAME, window_name

YEAR_1 = -62_135_596_800


def test_names_sort_as_windows():
    starts = (YEAR_1, -10, 0, 10, 1.8e9, 1.8e9 + 0.5, 253_402_300_790)
    names = [window_name(start, 10, shard) for start in starts[:5] + starts[6:] for shard in (0, 1)]
    assert names[4] == "window-19700101T000000Z-10s-00000.parquet"
    assert sorted(names) == names


@pytest.mark.parametrize(
    ("start", "date"),
    [
        (YEAR_1, "00010101T000000"),
        (YEAR_1 - 6 * 86_400, "00001226T000000"),  # the window of a week that holds the first day
        (-1, "19691231T235959"),
        (0.5, "19700101T000000.500000"),
        (253_402_300_740, "99991231T235900"),
    ],
)
def test_a_name_has_its_window_whatever_the_year(start, date):
    name = window_name(start, 60, 3)
    assert name == f"window-{date}Z-60s-00003.parquet"
    assert re.fullmatch(FILE_NAME, name)
    assert re.fullmatch(FILE_NAME, name.replace(".parquet", "-12.parquet"))
