import pytest

from encoder.errors import ConfigurationError
from pipelines.cli.config_file import seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30), ("5m", 300), ("1.5h", 5400), ("2d", 172800), ("7", 7), (" 250 ms ", 0.25), ("0", 0)],
)
def test_times_are_read(text, expected):
    assert seconds(text, "--every") == expected


@pytest.mark.parametrize("text", ["", "s", "-1s", "1w", "1h30m", "one"])
def test_other_texts_are_no_times(text):
    with pytest.raises(ConfigurationError, match=f"--every '{text}' is no time"):
        seconds(text, "--every")
