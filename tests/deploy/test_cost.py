"""The model of rates and costs: its figures by hand, its limits, and that the page shows what it says."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "deploy/cost/cost.py"
STORE = {"store_writes_per_second": 1000, "store_gbit_per_second": 200}


@pytest.fixture(scope="module")
def cost():
    spec = importlib.util.spec_from_file_location("cost", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    sys.modules["cost"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["cost"]


@pytest.fixture
def offer(cost):
    def make(**changes):
        fields = {"machine_cores": 4, "core_hour": 3.6, "gbit_per_core": 2.0, "gbit_most": 10.0}
        return cost.Offer(name="mine", rates="threads", **(fields | changes))

    return make


def run(*arguments):
    return subprocess.run(
        [sys.executable, PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@given(one=st.floats(1e3, 1e7), gain=st.floats(1.01, 2.0))
def test_one_core_and_two_do_what_was_measured(cost, one, gain):
    rates = cost.Rates(one, gain * one, 137, 256)
    assert rates.machine(1) == pytest.approx(one)
    assert rates.machine(2) == pytest.approx(gain * one)
    assert rates.machine(64) <= 64 * one * (1 + 1e-9)


def test_two_that_are_luckily_more_than_twice_one_promise_no_miracle(cost):
    assert cost.Rates(1e6, 2.2e6, 137, 256).machine(64) == 64e6


def test_costs_by_hand(offer):
    # A million records a second take 1,000 s for a billion, at 0.1 cents a second and core.
    assert offer().billion(1, 1e6, 137) == (pytest.approx(1.0), 0)
    assert offer(fixed_hour=3.6).billion(2, 2e6, 137) == (pytest.approx(1.5), 0)
    # 137 bytes a record are 137 GB a billion.
    assert offer(shuffles=True, shuffle_gb=0.01).billion(1, 1e6, 137) == (
        pytest.approx(1.0),
        pytest.approx(1.37),
    )
    # Whole machines: five cores are two machines of four.
    assert offer().billion(5, 1e6, 137) == (pytest.approx(8.0), 0)


@pytest.mark.parametrize(
    ("changes", "store", "end", "rate"),
    [
        ({"gbit_per_core": 9.0, "gbit_most": 99.0}, {}, "cores", 4e6),
        ({}, {}, "network", 8e9 / 8 / 300),
        ({"gbit_per_core": 0.004}, {}, "network", 0.016e9 / 8 / 300),
        ({"gbit_per_core": 0.004, "shuffles": True}, {}, "network", 0.016e9 / 8 / 400),
        ({"gbit_most": 0.004}, {}, "network", 0.004e9 / 8 / 300),
        ({"gbit_most": 99.0}, {"store_gbit_per_second": 0.3}, "store's bytes", 0.3e9 / 8 / 300),
        ({}, {"store_writes_per_second": 2}, "store's objects", 2 * 65_536),
    ],
)
def test_the_rate_ends_at_what_ends_first(cost, offer, changes, store, end, rate):
    rates = {"threads": cost.Rates(1e6, 2e6, 100, 300)}
    [row] = cost.table(rates, [offer(**changes)], STORE | store, (4,))
    assert (row["limit"], row["rate"]) == (end, pytest.approx(rate))


def test_what_was_measured_holds_rates_of_one_core_and_two():
    found = json.loads((ROOT / "deploy/cost/rates.json").read_text())
    assert {*found["records_per_second"]} == {"threads", "processes", "flink"}
    assert all(of["2"] > of["1"] > 0 for of in found["records_per_second"].values())
    assert found["bytes_in"] > 0
    assert found["bytes_out"] > 256  # a vector


@pytest.mark.slow
def test_the_page_shows_the_table(tmp_path):
    picture = tmp_path / "scale.svg"
    done = run("--draw", picture, "--cores", 1, 2, 4, 16, 64, 256)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in (ROOT / "docs/notes/scale.md").read_text()
    for name in ("one machine", "Flink on machines of 4 cores", "Dataflow, batch", "Dataflow, streaming"):
        assert name in picture.read_text()


def test_an_offer_without_rates_is_refused(tmp_path):
    rates = tmp_path / "rates.json"
    rates.write_text(
        json.dumps({"bytes_in": 1, "bytes_out": 1, "records_per_second": {"threads": {"1": 1, "2": 2}}})
    )
    done = run("--rates", rates)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"{rates} has no rates of flink, processes: measure them, or leave the offer out"
    ]
