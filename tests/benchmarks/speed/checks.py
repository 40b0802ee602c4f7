"""Before anything is measured: ours gives model2vec's vectors and the ids of `tokenizers`."""

import itertools
import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from encoder import Encoder

__all__ = ["check_ids", "largest_difference", "library_ids", "same_ids"]

TOLERANCE = {"float32": 1e-5, "int8": 1e-5, "float16": 2e-3}
"""Of a component of a vector of length 1; of a float16 table model2vec's vectors are float16 themselves."""


def library_ids(folder, texts):
    """The ids that `tokenizers` gives, and the one that means "unknown" (or None)."""
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model = json.loads(tokenizer.to_str())["model"]
    named = model.get("unk_token")
    unknown = tokenizer.token_to_id(named) if named else model.get("unk_id")
    return [one.ids for one in tokenizer.encode_batch_fast(texts, add_special_tokens=False)], unknown


def check_ids(folder, texts, ids, unknown):
    """Exit unless ours gives the ids of `tokenizers`, without the unknown one."""
    found, offsets = Encoder.load(folder, threads=1).tokenise(texts)
    for text, wanted, (first, last) in zip(texts, ids, itertools.pairwise(offsets), strict=True):
        if found[first:last].tolist() != known(wanted, unknown):
            raise SystemExit(f"ours gives other ids than tokenizers for {text!r}, so no measuring")


def known(ids, unknown):
    return [i for i in ids if i != unknown]


def largest_difference(case, ours, theirs):
    """How far the vectors of two files lie apart at most; exits when that is too much."""
    difference = float(np.abs(np.load(ours) - np.load(theirs)).max())
    if not difference <= TOLERANCE[case.dtype]:
        raise SystemExit(
            f"{case.name}: vectors lie {difference:.1e} from those of model2vec, so no measuring"
        )
    return difference


def same_ids(file, ids, unknown):
    """The share of texts whose ids are those of `tokenizers`, the unknown one left out."""
    found = json.loads(Path(file).read_text())
    return sum(known(a, unknown) == known(b, unknown) for a, b in zip(found, ids, strict=True)) / len(ids)
