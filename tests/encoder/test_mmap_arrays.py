"""Arrays of files are memory-mapped, so processes share their pages."""

import subprocess
import sys

import numpy as np
import pytest
import tiny_tokenizers
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from encoder.mmap_arrays import map_tensors, write_tensors
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


@pytest.mark.parametrize(
    "more", [{}, {"weights": np.ones(8, np.float64)}, {"weights": np.ones(7, np.float32)}]
)
@pytest.mark.parametrize("kind", [np.int8, np.float32])
def test_the_rows_of_a_written_file_begin_with_a_cache_line(kind, more, tmp_path):
    path = tmp_path / "a.safetensors"
    for width in range(1, 40, 7):
        arrays = {"rows": np.arange(3 * width).astype(kind).reshape(3, width), **more}
        write_tensors(path, arrays, "rows")
        found, _ = map_tensors(path)
        theirs = load_file(path)
        assert set(found) == set(theirs) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            np.testing.assert_array_equal(theirs[name], array)
            assert found[name].flags.aligned
        odd = kind == np.int8 and more and more["weights"].nbytes % 8
        assert odd or found["rows"].ctypes.data % 64 == 0


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


@pytest.mark.slow
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
