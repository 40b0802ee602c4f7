"""Arrays of files are memory-mapped, so processes share their pages."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tiny_tokenizers
from safetensors.numpy import load_file, save_file

from encoder.arrays.mmap_arrays import map_tensors, write_tensors
from encoder.errors import ModelFormatError
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
    with pytest.raises(ModelFormatError, match=r"a\.safetensors is not a safetensors file: "):
        map_tensors(tmp_path / "a.safetensors")


def _forged(path, change, *, length=None):
    """A file whose header is changed, or said to have another length."""
    save_file(ARRAYS, path)
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    length = len(text) if length is None else length
    path.write_bytes(length.to_bytes(8, "little") + text + data[8 + size :])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda h: h["a"].update(data_offsets=[8, 56]), "they must begin at"),
        (lambda h: h["a"].update(shape=[7]), "and be 56"),
        (lambda h: h["a"].update(shape=[1 << 40, 1 << 40]), "and be"),
        (lambda h: h["a"].update(shape=[-6]), "Expected `int` >= 0"),
        (lambda h: h["a"].update(shape=[1] * 70), "Expected `array` of length <= 8"),
        (lambda h: h["a"].update(data_offsets=[0, 1 << 70]), "Expected `int`"),
        (lambda h: h["a"].update(dtype="BF16"), "the type of 'a' is BF16"),
        (lambda h: h.pop("a"), "they must begin at"),
        (lambda h: h.update(c=h["a"]), "they must begin at"),
        (lambda h: h.update(c=[]), "Expected `object`"),
        (lambda h: h.update({f"e{k}": h["empty"] for k in range(10_001)}), "10,007 arrays, and the limit"),
        (lambda h: h.update(__metadata__={"a": [1]}), "Expected `str`"),
    ],
)
def test_a_forged_header_is_refused(change, reason, tmp_path):
    _forged(tmp_path / "a.safetensors", change)
    with pytest.raises(ModelFormatError, match=r"a\.safetensors is not a safetensors file: ") as caught:
        map_tensors(tmp_path / "a.safetensors")
    assert reason in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 9_000_000, (1 << 64) - 1])
def test_a_header_of_a_forged_length_is_refused(length, tmp_path):
    _forged(tmp_path / "a.safetensors", lambda _: None, length=length)
    with pytest.raises(ModelFormatError, match=r"a\.safetensors is not a safetensors file: "):
        map_tensors(tmp_path / "a.safetensors")


def test_arrays_that_begin_anywhere_are_read_into_memory(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(ARRAYS, path)
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    path.write_bytes((size + 1).to_bytes(8, "little") + data[8 : 8 + size] + b" " + data[8 + size :])
    found, _ = map_tensors(path)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.aligned


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
