"""Before anything is measured: ours gives model2vec's vectors and the ids of `tokenizers`."""

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from encoder import Encoder
from encoder.model import StaticModel, load_model

__all__ = ["check_ids", "largest_difference", "library_ids", "same_ids"]

TOLERANCE = {"float32": 1e-5, "int8": 1e-5, "float16": 2e-3}
"""Of a component of a vector of length 1; of a float16 table model2vec's vectors are float16 themselves."""


def library_ids(folder, texts):
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [one.ids for one in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def check_ids(folder, texts, ids):
    """Raise unless ours pools exactly the ids that `tokenizers` gives, without the unknown one.

    Ours is given a table of small integers and no scaling, so that a sum shows which rows it was made of.
    """
    spec = load_model(folder)
    model = json.loads(spec.tokenizer_json)["model"]
    tokenizer = Tokenizer.from_str(spec.tokenizer_json)
    named = model.get("unk_token")
    unknown = tokenizer.token_to_id(named) if named else model.get("unk_id")
    table = np.random.default_rng(0).integers(-127, 128, (tokenizer.get_vocab_size(), 8), np.int8)
    config = {"normalize": False, "max_length": None}
    found = Encoder(StaticModel(table, spec.tokenizer_json, config), threads=1).encode(texts)
    for text, row, vector in zip(texts, ids, found, strict=True):
        known = [i for i in row if i != unknown]
        wanted = table[known].astype(np.int64).sum(axis=0) / max(len(known), 1)
        if not np.allclose(vector, wanted, rtol=1e-6, atol=1e-5):
            raise SystemExit(f"ours pools other ids than tokenizers gives for {text!r}")


def largest_difference(case, ours, theirs):
    """How far the vectors of two files lie apart at most; exits when that is too much."""
    difference = float(np.abs(np.load(ours) - np.load(theirs)).max())
    if not difference <= TOLERANCE[case.dtype]:
        raise SystemExit(
            f"{case.name}: vectors lie {difference:.1e} from those of model2vec, so no measuring"
        )
    return difference


def same_ids(file, ids):
    """The share of texts whose ids are those of `tokenizers`."""
    found = json.loads(Path(file).read_text())
    return sum(a == b for a, b in zip(found, ids, strict=True)) / len(ids)
