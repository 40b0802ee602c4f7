"""Arrays of files are mapped: processes share their pages."""

import subprocess
import sys

import numpy as np
import pytest
import tiny_tokenizers
from safetensors import SafetensorError
from safetensors.numpy import save_file

from encoder.mapped import map_tensors
from encoder.model import StaticModel, save_model

ARRAYS = {
    "b": np.arange(12, dtype=np.int8).reshape(3, 4),
    "a": np.arange(6, dtype=np.uint64),
    "empty": np.zeros((0, 3), np.float32),
    "yes": np.array([True, False]),
    "half": np.ones((2, 2), np.float16),
    "number": np.array(7.0),
}
PROGRAM = """
import sys
from encoder import Encoder
encoder = Encoder.load(sys.argv[1])
encoder.encode(sys.argv[2:])
print("ready", flush=True)
sys.stdin.readline()
print(open("/proc/self/smaps").read(), flush=True)
sys.stdin.readline()
"""


def test_arrays_are_mapped_read_only_and_equal(tmp_path):
    save_file(ARRAYS, tmp_path / "a.safetensors", {"who": "me"})
    found, metadata = map_tensors(tmp_path / "a.safetensors")
    assert metadata == {"who": "me"}
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
        assert not array.size or not found[name].flags.writeable


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    save_file(ARRAYS, tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[:-1])
    with pytest.raises(SafetensorError):
        map_tensors(tmp_path / "a.safetensors")


def _kilobytes(smaps, name):
    """The counts of the mapping of a file, in kB."""
    lines = iter(smaps.splitlines())
    found = {}
    for line in lines:
        if line.endswith(name):
            for _ in range(20):
                key, _, value = next(lines).partition(":")
                if value.endswith(" kB"):
                    found[key] = found.get(key, 0) + int(value[:-3])
    return found


def test_two_processes_share_the_pages_of_a_model(tmp_path):
    text = tiny_tokenizers.named("uncased").to_str()
    n_tokens = len(tiny_tokenizers.named("uncased").get_vocab())
    table = np.random.default_rng(1).integers(-127, 128, (n_tokens, 256), np.int8)
    folder = save_model(StaticModel(table, text, {"normalize": True}), tmp_path / "model")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), *tiny_tokenizers.SAMPLE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 2
        # Both are alive while each looks.
        for worker in workers:
            worker.stdin.write("\n")
            worker.stdin.flush()
        for worker in workers:
            smaps = iter(worker.stdout.readline, "\n")
            pages = _kilobytes("".join(smaps), "model.safetensors")
            assert pages["Rss"] > 0
            assert pages["Private_Dirty"] == pages["Shared_Dirty"] == pages["Private_Clean"] == 0
            assert pages["Shared_Clean"] == pages["Rss"]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
