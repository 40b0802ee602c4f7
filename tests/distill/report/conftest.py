"""Pages that several tests look at."""

import pytest
from distill_report import make_report


@pytest.fixture(scope="session")
def pages():
    """With texts, without, and with texts that try to be markup."""
    return {"shown": make_report(100), "anonymous": make_report(0), "hostile": make_report(100, hostile=True)}
