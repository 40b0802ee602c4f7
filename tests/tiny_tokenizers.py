"""Small tokenizers of every kind, made on the spot, and whether the encoder gives their ids."""

import functools
import unicodedata

import model2vec
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from encoder import Encoder
from encoder.model import StaticModel

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SAMPLE = """
Jun 14 15:16:01 combo sshd(pam_unix)[19939]: authentication failure; logname= uid=0 euid=0 tty=NODEVssh
Failed password for invalid user webmaster from 173.234.31.186 port 38926 ssh2
card declined at the gate of the airport, the merchant refused the payment after three wrong codes
INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block blk_38865049064139660 terminating
Der Zähler läuft über. Ça va très bien, merci. El niño comió piñas. Ångström naïve coöperate
Привет мир, ошибка соединения. Καλημέρα κόσμε σφάλμα. 你好世界 错误 日本語のテキスト ありがとう
안녕하세요 오류가 발생했습니다 שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก
""".strip().splitlines()

# Characters that stand in the vocabularies as words and inside words, so that each shows in the ids.
_RANGES = (
    *((0x21, 0x17F), (0x1C0, 0x250), (0x2B0, 0x500), (0x591, 0x5F0), (0x610, 0x670), (0x900, 0x970)),
    *((0xE00, 0xE5C), (0x1100, 0x1200), (0x1E00, 0x2070), (0x20D0, 0x20F1), (0x2580, 0x2620)),
    *((0x2E80, 0x2EA0), (0x3000, 0x3100), (0x4E00, 0x4E40), (0xA8E0, 0xA900), (0xAC00, 0xAC40)),
    *((0xF900, 0xF910), (0xFB00, 0xFB50), (0xFE20, 0xFE70), (0xFF01, 0xFFA0), (0x1D157, 0x1D170)),
    *((0x1F600, 0x1F610), (0x2F800, 0x2F810)),
)
LETTERS = [chr(code) for first, last in _RANGES for code in range(first, last)]


def _word_piece(*, prefix="##", max_chars=100, unk="[UNK]", middle=False, extra=(), letters=True, **options):
    """WordPiece trained on `SAMPLE`, with single letters added to its vocabulary."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=unk))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [token if token != "[UNK]" else unk for token in SPECIAL]
    trainer = trainers.WordPieceTrainer(
        vocab_size=700, show_progress=False, special_tokens=special, continuing_subword_prefix=prefix
    )
    tokenizer.train_from_iterator(SAMPLE, trainer)
    words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    if letters:
        words += [*LETTERS, *(prefix + letter for letter in LETTERS)]
    words = list(dict.fromkeys([*words, *extra]))
    if middle:
        words.remove(unk)
        words.insert(len(words) // 2, unk)
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer.model = models.WordPiece(
        vocabulary, unk_token=unk, max_input_chars_per_word=max_chars, continuing_subword_prefix=prefix
    )
    rebuilt = Tokenizer(tokenizer.model)  # without the added tokens of the trainer, whose ids may have moved
    rebuilt.normalizer, rebuilt.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    rebuilt.decoder = decoders.WordPiece(prefix)
    rebuilt.add_special_tokens([token for token in special if token != "unk"])
    return rebuilt


def _with_added(*tokens):
    tokenizer = _word_piece()
    tokenizer.add_tokens(list(tokens))
    return tokenizer


def _spliced():
    """BERT's rules written with other parts of the library."""
    tokenizer = _word_piece()
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    return tokenizer


def _unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("``", '"')])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, show_progress=False, special_tokens=["<s>", "<unk>"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator(SAMPLE * 3, trainer)
    return tokenizer


def _byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(SAMPLE, trainer)
    return tokenizer


def _metaspace():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False, special_tokens=["<unk>", "<s>"])
    tokenizer.train_from_iterator(SAMPLE, trainer)
    return tokenizer


def _word_level():
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["[UNK]", "[PAD]"], show_progress=False)
    tokenizer.train_from_iterator(SAMPLE, trainer)
    return tokenizer


KERNEL = {
    "uncased": _word_piece,
    "only trained": lambda: _word_piece(letters=False),
    "cased": lambda: _word_piece(lowercase=False),
    "cased, accents stripped": lambda: _word_piece(lowercase=False, strip_accents=True),
    "uncased, accents kept": lambda: _word_piece(strip_accents=False),
    "uncased, accents stripped": lambda: _word_piece(strip_accents=True),
    "Chinese not split": lambda: _word_piece(handle_chinese_chars=False),
    "words of 7": lambda: _word_piece(max_chars=7),
    "words of 128": lambda: _word_piece(max_chars=128),
    "prefix @@": lambda: _word_piece(prefix="@@"),
    "unknown in the middle": lambda: _word_piece(middle=True),
    "added as they stand": lambda: _with_added(
        AddedToken("<mail>", normalized=False, single_word=True),
        AddedToken("[ MASK ]", normalized=False, lstrip=True, rstrip=True),
        AddedToken("##", normalized=False),
    ),
}
"""Tokenizers that the kernel does."""

LIBRARY = {
    "words of 1000": lambda: _word_piece(max_chars=1000),
    "not cleaned": lambda: _word_piece(clean_text=False, extra=["\x00", "##\x00", "\x01", "##\x02"]),
    "prefix of letters": lambda: _word_piece(prefix="x"),
    "prefix of Metaspace": lambda: _word_piece(prefix="\u2581"),
    "no prefix": lambda: _word_piece(prefix=""),
    "unknown is a word": lambda: _word_piece(unk="unk"),
    "unknown is punctuation": lambda: _word_piece(unk="?"),
    "added and normalised": lambda: _with_added(AddedToken("Card", normalized=True), "çA"),
    "added words": lambda: _with_added(AddedToken("card", normalized=False)),
    "added symbols": lambda: _with_added(AddedToken("€uro", normalized=False)),
    "BERT in parts": _spliced,
    "Unigram": _unigram,
    "byte-level BPE": _byte_level,
    "BPE with Metaspace": _metaspace,
    "WordLevel": _word_level,
}
"""Tokenizers that the kernel leaves to the library."""


@functools.cache
def named(name: str) -> Tokenizer:
    """A tokenizer of `KERNEL` or `LIBRARY`, built once."""
    return ({**KERNEL, **LIBRARY})[name]()


@functools.cache
def encoder(name: str, max_length: int | None = None) -> Encoder:
    """An encoder whose vectors show the ids: see `visible_table`."""
    return Encoder(encoder_model(name, max_length))


def encoder_model(name: str, max_length: int | None = None) -> StaticModel:
    """Its model."""
    table = visible_table(len(named(name).get_vocab()))
    return StaticModel(table, named(name).to_str(), {"normalize": False, "max_length": max_length})


@functools.cache
def reference(name: str, max_length: int | None = None) -> model2vec.StaticModel:
    """The same model in model2vec."""
    table = visible_table(len(named(name).get_vocab()))
    return model2vec.StaticModel(table, named(name), max_length=max_length)


@functools.cache
def visible_table(n_tokens: int) -> np.ndarray:
    """`(n_tokens, 8)` int8: random rows, whose exact sums show which ids were added up and how often."""
    return np.random.default_rng(n_tokens).integers(-127, 128, (n_tokens, 8), np.int8)


def different(name: str, texts: list[str], max_length: int | None = None) -> list[tuple[str, str, list[int]]]:
    """Texts of which the encoder gives or pools other ids than `tokenizers`, cut and without the unknown one.

    Returns:
        For at most 5 of them the text, its first characters' names and the ids that it should have.
    """
    model = reference(name, max_length)
    cut = texts if max_length is None else [text[: max_length * model.median_token_length] for text in texts]
    ids = model.tokenize(cut)
    lengths = np.array([len(row) for row in ids])
    flat = np.fromiter((i for row in ids for i in row), np.int64, int(lengths.sum()))
    sums = np.zeros((len(flat) + 1, 8), np.int64)
    np.cumsum(model.embedding[flat], axis=0, out=sums[1:])
    ends = np.cumsum(lengths)
    means = (sums[ends] - sums[ends - lengths]) / np.maximum(lengths, 1)[:, None]
    found = encoder(name, max_length).encode(texts)
    wrong = ~np.isclose(found, means, rtol=1e-6, atol=1e-5).all(axis=1)
    mine, offsets = encoder(name, max_length).tokenise(texts)
    if not (np.array_equal(mine, flat) and np.array_equal(offsets[1:], ends)):
        pairs = zip(np.split(mine, offsets[1:-1]), ids, strict=True)
        wrong |= np.array([row.tolist() != expected for row, expected in pairs])
    return [
        (texts[r], ", ".join(unicodedata.name(c, hex(ord(c))) for c in texts[r][:6]), ids[r])
        for r in np.flatnonzero(wrong)[:5]
    ]
