"""Warming compiles every kernel."""

import os
import subprocess
import sys

import pytest

from encoder.kernels import compiled
from encoder.warm import warm_kernels

EVERYTHING = """
import sys
from typing import get_args
sys.path.insert(0, "tests")
import numpy as np
import pyarrow as pa
import tiny_tokenizers
from encoder import Encoder
from encoder.arrays.dtypes import VectorType
from encoder.heads.scoring import Classifier, Heads
from encoder.kernels.compiled import compilations
from encoder.model import StaticModel, load_model, save_model
from encoder.arrays.vectors import converted
head = Classifier("a", ("b", "c"), np.ones((2, 40), np.float32), np.ones(2, np.float32))
for name in ("uncased", "cased", "Unigram", "byte-level BPE", "BPE with Metaspace", "WordLevel"):
    tokenizer = tiny_tokenizers.named(name)
    for kind in ("int8", "float16", "float32"):
        table = np.ones((tokenizer.get_vocab_size(), 40), kind)
        for normalize in (True, False):
            model = StaticModel(table, tokenizer.to_str(), {"normalize": normalize})
            folder = f"{sys.argv[1]}/{name}-{kind}-{normalize}"
            loaded = load_model(save_model(model, folder))
            for encoder in (Encoder(model), Encoder(loaded, threads=2)):
                for dtype in get_args(VectorType):
                    for texts in (tiny_tokenizers.SAMPLE, pa.array(["card", None, "é"]), "card", []):
                        encoder.encode(texts, dtype=dtype)
                encoder.encode(tiny_tokenizers.SAMPLE, dims=7)
                encoder.encode_tokens(["card [MASK]"])
                vectors = encoder.encode(tiny_tokenizers.SAMPLE)
                Heads([head], unit=normalize)(vectors)
                for dtype in get_args(VectorType):
                    converted(vectors, dtype)
print(compilations())
"""


@pytest.mark.slow
def test_a_process_after_warming_compiles_nothing(tmp_path):
    # In processes of their own: this one may have compiled a kernel where a test let nothing be kept.
    for program in ("from encoder.warm import warm_kernels; warm_kernels()", EVERYTHING):
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == "0\n"


@pytest.mark.slow
def test_warming_again_compiles_nothing_and_names_the_folder():
    warm_kernels()
    again = warm_kernels()
    assert again.compiled == 0
    assert set(again.folders) <= set(compiled.code_folders())
    assert again.folders
    assert again.processor == compiled.processor()


@pytest.mark.soak
def test_code_is_kept_where_it_is_wanted(tmp_path):
    command = [sys.executable, "-c", "from encoder.warm import warm_kernels; print(warm_kernels().compiled)"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    counts = [
        int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        for _ in range(2)
    ]
    assert counts[0] > 20
    assert counts[1] == 0
    assert list(tmp_path.glob("millstream/*.nbc"))
