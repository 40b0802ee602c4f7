"""The vocabulary of a static model: which tokens it has, and what the teacher reads for each of them."""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from skeletoken import TokenizerModel
from skeletoken.models import ModelType
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel

from encoder.errors import ConfigurationError
from encoder.model import DEFAULT_MAX_LENGTH

__all__ = ["Vocabulary", "build_vocabulary"]


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a static model.

    Attributes:
        tokens: the tokens by their new id; lower ids are taken to be more frequent.
        sequences: for each token the teacher's ids, `[bos] id [eos]`; own words may have more than one.
        tokenizer_json: the text of the new `tokenizer.json`.
    """

    tokens: list[str]
    sequences: list[list[int]]
    tokenizer_json: str


def build_vocabulary(tokenizer: Any, *, drop_pattern: str | None, words: Iterable[str] = ()) -> Vocabulary:
    r"""Build a static model's vocabulary from a teacher's fast tokenizer.

    Special and added tokens go (a mean of vectors has no use for them), all but the unknown and the padding
    token; so do the entries whose beginning matches `drop_pattern`, and the post-processor. Own words come:
    what the tokenizer takes for one word becomes an entry, what it splits ("new york") an added token.

    Raises:
        ConfigurationError: the tokenizer is of a kind that cannot be edited, or no token is left.
    """
    with _quiet_skeletoken():
        try:
            model = TokenizerModel.from_transformers_tokenizer(tokenizer)
        except (ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigurationError(
                f"the teacher's tokenizer cannot be edited: {reason}; use a WordPiece, BPE or Unigram one"
            ) from error
        before, after = model.bos or [], model.eos or []
        model = _pruned(model, drop_pattern)
        model = _with_words(model, words, known=set(tokenizer.get_vocab()), drop_pattern=drop_pattern)
    tokens = model.sorted_vocabulary
    if not tokens:
        raise ConfigurationError(f"the drop pattern {drop_pattern!r} leaves no token: make it narrower")
    ids = _TeacherIds(tokenizer, model, before, after)
    return Vocabulary(tokens, [ids.of(token) for token in tokens], _written(model.to_tokenizer()))


def _pruned(model: TokenizerModel, drop_pattern: str | None) -> TokenizerModel:
    model.post_processor = None
    if model.adds_prefix_space is not None:
        model.adds_prefix_space = True  # the first word of a text is a word like the others
    unknown = model.unk_token
    kept = {unknown, model.pad_token}
    dropped = {token.content for token in model.added_tokens.root if token.content not in kept}
    if drop_pattern:
        pattern = re.compile(drop_pattern)
        dropped.update(token for token in model.vocabulary if pattern.match(token))
    model = model.remove_tokens_from_vocabulary(sorted(dropped))
    if unknown in model.vocabulary:
        model.unk_token = unknown  # a Unigram knows it by its id, which has changed
    return model


def _with_words(
    model: TokenizerModel, words: Iterable[str], *, known: set[str], drop_pattern: str | None
) -> TokenizerModel:
    """Add own words; those that are there already, come to nothing, or match the pattern are passed over."""
    single: dict[str, None] = {}  # a dict keeps the order and holds each word once
    several: dict[str, None] = {}
    for word in words:
        pieces = model.preprocessor.preprocess(word, had_initial_subword_prefix=True)
        if len(pieces) > 1:
            normalizer = model.preprocessor.normalizer
            several[(normalizer.normalize_str(word) if normalizer else word).strip()] = None
        elif pieces and pieces[0] not in known and not (drop_pattern and re.match(drop_pattern, pieces[0])):
            single[pieces[0]] = None
    if single:
        if model.model.type is ModelType.BPE:  # a longer word's merges may hold a shorter word
            single = dict.fromkeys(sorted(single, key=len))
        model = model.add_tokens_to_vocabulary(list(single), preprocess_tokens=False)
    if several:
        model = model.remove_tokens_from_vocabulary([word for word in several if word in model.vocabulary])
        model = model.add_addedtokens(list(several), is_special=False, single_word=False, normalized=True)
    return model


class _TeacherIds:
    """What the teacher reads for a token of the new vocabulary."""

    def __init__(self, tokenizer: Any, model: TokenizerModel, before: list[str], after: list[str]) -> None:
        self._vocabulary: dict[str, int] = tokenizer.get_vocab()
        self._backend: Tokenizer = tokenizer.backend_tokenizer
        self._before = [self._vocabulary[token] for token in before]
        self._after = [self._vocabulary[token] for token in after]
        self._in_bytes = model.transforms_into_bytes
        self._as_written = {token.content for token in model.added_tokens.root}

    def of(self, token: str) -> list[int]:
        known = self._vocabulary.get(token)
        return [*self._before, *(self._spelled(token) if known is None else [known]), *self._after]

    def _spelled(self, token: str) -> list[int]:
        """The ids of a token that the teacher does not have."""
        as_bytes = self._in_bytes and token not in self._as_written
        text = ByteLevel().decode([token]) if as_bytes else token
        return list(self._backend.encode(text, add_special_tokens=False).ids)


def _written(tokenizer: Tokenizer) -> str:
    """The text of tokenizer.json: cut at the model's length, the padding token kept, nothing padded."""
    tokenizer.enable_truncation(DEFAULT_MAX_LENGTH)
    if padding := tokenizer.padding:
        tokenizer.enable_padding(pad_id=padding["pad_id"], pad_token=padding["pad_token"], length=0)
    text: str = tokenizer.to_str()
    return text


@contextmanager
def _quiet_skeletoken() -> Iterator[None]:
    logger = logging.getLogger("skeletoken")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it reports every repair of a tokenizer that it makes
    try:
        yield
    finally:
        logger.setLevel(level)
