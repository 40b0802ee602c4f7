"""What the tests of millstream.js share: models, jobs for Node or Deno, and the comparison with Python."""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_tokenizers
from patience import PATIENCE

from encoder import Encoder
from encoder.model import StaticModel, save_model

__all__ = ["BROWSER", "DENO", "MODULE", "TEXTS", "check", "in_node", "model", "needs_node", "saved"]

BROWSER = Path(__file__).parents[1] / "deploy" / "browser"
MODULE = BROWSER / "millstream.js"
TEXTS = ["card declined", "Failed password for root", "", None, "[MASK] café ☃", "Ünïcödé 中文"]
NODE = ("node",)
DENO = (str(Path(sys.executable).with_name("deno")), "run", "--allow-read", "--allow-write")

needs_node = pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js (Debian: nodejs)")


def in_node(folder, *jobs, program=NODE):
    """Do jobs in Node or Deno: what came out of each, with its vectors as an array."""
    given, written = folder / "jobs.json", folder / "results.json"
    given.write_text(json.dumps(jobs), "utf-8")
    command = [*program, Path(__file__).with_name("deploy") / "encode.mjs", MODULE.as_uri(), given, written]
    subprocess.run(command, check=True, timeout=PATIENCE)
    found = json.loads(written.read_text("utf-8"))
    for one in found:
        if "vectors" in one:
            flat = np.frombuffer(base64.b64decode(one["vectors"]), np.float32)
            one["vectors"] = flat.reshape(-1, one["dim"])
    return found


def model(name="uncased", dtype=np.float32, *, normalize=True, max_length=512, dim=8):
    """A model with random token vectors."""
    tokenizer, random = tiny_tokenizers.named(name), np.random.default_rng(7)
    table = (random.standard_normal((tokenizer.get_vocab_size(), dim)) * 40).astype(dtype)
    config = {"normalize": normalize, "max_length": max_length}
    return StaticModel(table, tokenizer.to_str(), config)


def saved(folder, static):
    """The URL of the model's folder, with the model in it."""
    return f"{save_model(static, folder).as_uri()}/"


def check(found, static, texts):
    """Ids and vectors are those of the encoder in Python."""
    encoder = Encoder(static)
    ids, offsets = encoder.tokenise(texts)
    expected = [row.tolist() for row in np.split(ids, offsets[1:-1])]
    wrong = [
        (text, mine) for text, mine, row in zip(texts, found["ids"], expected, strict=True) if mine != row
    ]
    assert wrong[:5] == []
    vectors = encoder.encode(texts)
    largest = max(1, np.abs(vectors).max(initial=0))  # where large numbers cancel out, their rounding is left
    np.testing.assert_allclose(found["vectors"], vectors, rtol=1e-5, atol=1e-6 * largest)
