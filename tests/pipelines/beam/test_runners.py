"""The same rows from every way of running Beam on one machine."""

import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from patience import wait_for
from servers import free_ports

N = 3000


@pytest.fixture
def inputs(tmp_path):
    for k in range(3):
        lines = [f'{{"id": {i}, "text": "login failed {i}"}}' for i in range(k * N // 3, (k + 1) * N // 3)]
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / f"in/{k}.jsonl").write_text("\n".join([*lines, "broken"]) + "\n")
    return tmp_path / "in"


@pytest.fixture
def job_service(tmp_path):
    """Beam's portable job service on this machine; yields its address."""
    [port] = free_ports(1)
    with (tmp_path / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", "-p", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        log = (tmp_path / "service.log").read_bytes
        wait_for(log, "a service that listens", lambda text: b"Listening" in text, process=process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def parts(output):
    return {path.name: path.read_bytes() for path in output.rglob("*part*")}


@pytest.mark.slow
def test_two_processes_write_the_same_files(inputs, tmp_path, backfill):
    expected = backfill(inputs, tmp_path / "one", "--rows-per-file", 500).done()
    more = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    found = backfill(inputs, tmp_path / "two", "--rows-per-file", 500, "--", *more).done()
    assert parts(tmp_path / "two") == parts(tmp_path / "one")
    assert {**found, "seconds": 0, "output": ""} == {**expected, "seconds": 0, "output": ""}


@pytest.mark.server
def test_a_portable_runner_writes_the_same_files(
    inputs, tmp_path, backfill, job_service, processes, ended, model
):
    expected = backfill(inputs, tmp_path / "one", "--rows-per-file", 500).done()
    portable = ("--runner=PortableRunner", f"--job_endpoint={job_service}", "--environment_type=LOOPBACK")
    arguments = ("--model", model, "--input", inputs, "--rows-per-file", 500, "--json")
    process = processes("backfill", *arguments, "--output", tmp_path / "two", "--", *portable)
    found = ended(process).done()
    assert parts(tmp_path / "two") == parts(tmp_path / "one")
    assert {**found, "seconds": 0, "output": ""} == {**expected, "seconds": 0, "output": ""}
    assert pq.read_table(tmp_path / "two").num_rows == N


@pytest.mark.server
def test_an_error_on_a_portable_runner_is_one_line(tmp_path, job_service, processes, ended, model):
    damaged = tmp_path / "in.jsonl.gz"
    damaged.write_bytes(b"\x1f\x8b\x08\x00" + bytes(200))
    portable = ("--runner=PortableRunner", f"--job_endpoint={job_service}", "--environment_type=LOOPBACK")
    arguments = ("--model", model, "--input", damaged, "--input-format", "text", "--output", tmp_path / "out")
    process = processes("backfill", *arguments, "--", *portable)
    assert str(damaged) in ended(process).error
