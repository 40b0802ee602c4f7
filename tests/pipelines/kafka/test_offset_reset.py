import pytest

from encoder.errors import ConfigurationError
from pipelines.kafka.offset_reset import is_lost, offset_reset


@pytest.mark.parametrize(
    ("text", "reset"),
    [
        *((text, "earliest") for text in ("smallest", "earliest", "beginning")),
        *((text, "latest") for text in ("largest", "latest", "end")),
        ("error", "error"),
    ],
)
def test_each_of_librdkafkas_names(text, reset):
    assert offset_reset({"auto.offset.reset": text}) == reset
    assert offset_reset({}) == "earliest"


@pytest.mark.parametrize(("at", "lost"), [(4, True), (5, False), (9, False), (10, True)])
def test_a_log_lacks_positions_before_its_first_offset_and_behind_its_end(at, lost):
    assert is_lost("in/p0", at, 5, 9, "earliest") == lost
    if lost:
        with pytest.raises(ConfigurationError, match=rf"in/p0 holds offsets 5 to 8, and {at} is to be read"):
            is_lost("in/p0", at, 5, 9, "error")
    else:
        assert not is_lost("in/p0", at, 5, 9, "error")
