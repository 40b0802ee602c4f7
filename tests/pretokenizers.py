"""Small tokenizers in the shapes of well-known ones: which are done piece by piece, and which are not."""

import functools
import io
import json

import sentencepiece
import tiny_tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

META = "\u2581"
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
ALPHABET = pre_tokenizers.ByteLevel.alphabet()
SAMPLE = [
    *tiny_tokenizers.SAMPLE,
    *["it's the card, we'll see; they've said I'm not 12345 67 89", "  spaces   and\ttabs\n\nlines\r\n"],
]


def _trained(model, normalizer, splitter, *, special, alphabet=(), vocab_size=600):
    tokenizer = Tokenizer(model)
    if normalizer:
        tokenizer.normalizer = normalizer
    if splitter:
        tokenizer.pre_tokenizer = splitter
    options = {"vocab_size": vocab_size, "show_progress": False, "special_tokens": special}
    if isinstance(model, models.Unigram):
        trainer = trainers.UnigramTrainer(unk_token="<unk>", **options)
    else:
        trainer = trainers.BpeTrainer(initial_alphabet=list(alphabet), **options)
    tokenizer.train_from_iterator(SAMPLE * 3, trainer)
    return tokenizer


def byte_level(pattern=None, normalizer=None, *, prefix=False, added=(), **model):
    """GPT-2's kind, or with a pattern of its own as Qwen's and Llama 3's."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=pattern is None)
    if pattern:
        splitter = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), splitter])
    tokenizer = _trained(
        models.BPE(**model), normalizer, splitter, special=["<|endoftext|>"], alphabet=ALPHABET
    )
    tokenizer.add_tokens(list(added))
    return tokenizer


def unigram(normalizer=None, splitter=None, *, added=(), special=("<s>", "<pad>", "</s>", "<unk>"), **_):
    """XLM-R's kind."""
    splitter = splitter or pre_tokenizers.Metaspace()
    tokenizer = _trained(models.Unigram(), normalizer, splitter, special=list(special), vocab_size=500)
    tokenizer.add_tokens(list(added))
    return tokenizer


def llama2(normalizer=None, splitter=None, *, fallback=True, fuse=True, added=()):
    """SentencePiece's BPE as Llama 2 has it: no pre-tokens, unknown characters as bytes."""
    if normalizer is None and splitter is None:
        normalizer = normalizers.Sequence([normalizers.Prepend(META), normalizers.Replace(" ", META)])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256) if fallback)]
    training = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer = _trained(models.BPE(unk_token="<unk>"), None, training, special=special)
    spec = json.loads(tokenizer.to_str())
    spec["model"].update(byte_fallback=fallback, fuse_unk=fuse)
    spec["added_tokens"] = spec["added_tokens"][:3]
    spec["pre_tokenizer"] = None
    changed = Tokenizer.from_str(json.dumps(spec))
    if normalizer:
        changed.normalizer = normalizer
    if splitter:
        changed.pre_tokenizer = splitter
    changed.add_tokens(list(added))
    return changed


def edited(tokenizer, **model):
    """The same with other settings of its model."""
    spec = json.loads(tokenizer.to_str())
    spec["model"].update(model)
    return Tokenizer.from_str(json.dumps(spec))


def _sequence(*parts):
    return normalizers.Sequence(list(parts))


def _words(**options):
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**options)])


def _precompiled(rule="nmt_nfkc"):
    """SentencePiece's own normaliser as XLM-R's `tokenizer.json` holds it."""
    from transformers.utils import sentencepiece_model_pb2_new

    model, proto = io.BytesIO(), sentencepiece_model_pb2_new.ModelProto()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["card refused", "the server restarted"] * 50),
        model_writer=model,
        vocab_size=50,
        normalization_rule_name=rule,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    proto.ParseFromString(model.getvalue())
    return normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)


_COLLAPSE = normalizers.Replace(Regex(" {2,}"), " ")


def _without_pattern():
    tokenizer = byte_level()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(use_regex=False)
    return tokenizer


def _merging_over_spaces():
    spec = json.loads(llama2().to_str())
    spec["model"]["vocab"]["d" + META] = len(spec["model"]["vocab"])
    spec["model"]["merges"].insert(0, ["d", META])
    return Tokenizer.from_str(json.dumps(spec))


def _whole(tokenizer):
    """The same where Unigram takes a text as one, as in what model2vec distilled of XLM-R's kind."""
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False, prepend_scheme="always")
    return tokenizer


def _with_entry(token):
    spec = json.loads(_whole(unigram()).to_str())
    spec["model"]["vocab"].append([token, -9.0])
    return Tokenizer.from_str(json.dumps(spec))


PIECES = {
    "GPT-2": byte_level,
    "GPT-2 with a space in front": lambda: byte_level(prefix=True),
    "GPT-2's pattern in Split": lambda: byte_level(
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    ),
    "ModernBERT": lambda: byte_level(
        normalizer=normalizers.NFC(),
        added=[AddedToken("  ", normalized=False), AddedToken("[MASK]", lstrip=True, normalized=False)],
    ),
    "ModernBERT with a space in front": lambda: byte_level(normalizer=normalizers.NFC(), prefix=True),
    "Qwen": lambda: byte_level(QWEN, normalizers.NFC()),
    "Qwen as distilled": lambda: byte_level(QWEN, normalizers.NFC(), prefix=True),
    "Llama 3": lambda: byte_level(LLAMA3, ignore_merges=True),
    "XLM-R": lambda: unigram(_sequence(normalizers.NFKC(), _COLLAPSE), _words()),
    "XLM-R, precompiled": lambda: unigram(_precompiled(), _words()),
    "E5, precompiled": lambda: unigram(
        _sequence(_precompiled("nmt_nfkc_cf"), normalizers.Strip(left=False, right=True), _COLLAPSE)
    ),
    "XLM-R, lower case": lambda: unigram(_sequence(normalizers.Lowercase(), normalizers.NFD()), _words()),
    "E5": lambda: unigram(
        _sequence(normalizers.NFKC(), normalizers.Strip(left=False, right=True), _COLLAPSE)
    ),
    "E5, spaces into signs": lambda: unigram(
        _sequence(normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), META))
    ),
    "Unigram, no normaliser": unigram,
    "Unigram, quotes": lambda: unigram(_sequence(normalizers.Replace("``", '"'), normalizers.NFKC())),
    "Unigram, not split": lambda: _whole(unigram()),
    "potion, multilingual": lambda: _whole(unigram(_sequence(_precompiled(), _COLLAPSE))),
    "Unigram, first": lambda: unigram(splitter=pre_tokenizers.Metaspace(prepend_scheme="first")),
    "Unigram, never": lambda: unigram(splitter=pre_tokenizers.Metaspace(prepend_scheme="never")),
    "Unigram, added": lambda: unigram(
        normalizers.NFKC(),
        added=[AddedToken("card", normalized=True), AddedToken("new york", normalized=False)],
    ),
    "BPE with Metaspace": lambda: llama2(splitter=pre_tokenizers.Metaspace(prepend_scheme="first")),
    "Llama 2": llama2,
    "Llama 2, later": lambda: llama2(splitter=pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
    "Llama 2, no bytes": lambda: llama2(fallback=False),
    "Llama 2, unknown apart": lambda: llama2(fallback=False, fuse=False),
}
"""Tokenizers that are done piece by piece."""

LIBRARY = {
    "dropout": lambda: edited(byte_level(), dropout=0.1),
    "no pattern": _without_pattern,
    "another pattern": lambda: byte_level(r"\p{L}+|[^\p{L}]+"),
    "NFKC before bytes": lambda: byte_level(normalizer=normalizers.NFKC()),
    "WhitespaceSplit, first": lambda: unigram(splitter=_words(prepend_scheme="first")),
    "Unigram, not split, a token over a space": lambda: _with_entry("d" + META),
    "Unigram, stripped": lambda: unigram(normalizers.Strip()),
    "Unigram, a word removed": lambda: unigram(normalizers.Replace("card", "")),
    "Unigram, a space replaced": lambda: unigram(normalizers.Replace("a b", "c")),
    "Unigram, added and lowered": lambda: unigram(normalizers.Lowercase(), added=[AddedToken("Card")]),
    "Unigram, added with a space": lambda: unigram(normalizers.NFKC(), added=[AddedToken("new york")]),
    "Metaspace with another sign": lambda: unigram(splitter=pre_tokenizers.Metaspace(replacement="_")),
    "Llama 2, merges over spaces": _merging_over_spaces,
}
"""Tokenizers near those that only the library does."""


@functools.cache
def named(name: str) -> Tokenizer:
    """One of `PIECES` or `LIBRARY`, built once."""
    return ({**PIECES, **LIBRARY})[name]()
