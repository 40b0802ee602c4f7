"""The vocabulary of a static model: its tokens, and the teacher's token ids for each of them."""

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
        tokens: the tokens in the order of their new ids; lower ids count as more frequent.
        sequences: the teacher's ids of each token, `[bos] id [eos]`; added words may have several ids.
        tokenizer_json: the new `tokenizer.json`.
    """

    tokens: list[str]
    sequences: list[list[int]]
    tokenizer_json: str


def build_vocabulary(tokenizer: Any, *, drop_pattern: str | None, words: Iterable[str] = ()) -> Vocabulary:
    r"""Build a static model's vocabulary from a teacher's fast tokenizer.

    Special and added tokens are dropped, except the unknown and the padding token, since a mean of vectors
    has no use for them. The post-processor and the entries that begin with a match of `drop_pattern` are
    dropped too. Of `words`, single words become vocabulary entries, and what the tokenizer splits ("new
    york") becomes an added token.

    Raises:
        ConfigurationError: the tokenizer cannot be edited, or no token is left.
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
        raise ConfigurationError(f"`drop_pattern` {drop_pattern!r} drops every token: make it narrower")
    ids = _TeacherIds(tokenizer, model, before, after)
    return Vocabulary(tokens, [ids.of(token) for token in tokens], _written(model.to_tokenizer()))


def _pruned(model: TokenizerModel, drop_pattern: str | None) -> TokenizerModel:
    model.post_processor = None
    if model.adds_prefix_space is not None:
        model.adds_prefix_space = True  # so that the first word of a text is tokenised like the others
    unknown = model.unk_token
    kept = {unknown, model.pad_token}
    dropped = {token.content for token in model.added_tokens.root if token.content not in kept}
    if drop_pattern:
        pattern = re.compile(drop_pattern)
        dropped.update(token for token in model.vocabulary if pattern.match(token))
    model = model.remove_tokens_from_vocabulary(sorted(dropped))
    if unknown in model.vocabulary:
        model.unk_token = unknown  # Unigram stores its id, which has changed
    return model


def _with_words(
    model: TokenizerModel, words: Iterable[str], *, known: set[str], drop_pattern: str | None
) -> TokenizerModel:
    """Add words, except known ones, empty ones, and those that match the pattern."""
    single: dict[str, None] = {}  # a dict is an ordered set
    multiple: dict[str, None] = {}
    for word in words:
        pieces = model.preprocessor.preprocess(word, had_initial_subword_prefix=True)
        if len(pieces) > 1:
            normalizer = model.preprocessor.normalizer
            multiple[(normalizer.normalize_str(word) if normalizer else word).strip()] = None
        elif pieces and pieces[0] not in known and not (drop_pattern and re.match(drop_pattern, pieces[0])):
            single[pieces[0]] = None
    if single:
        if model.model.type is ModelType.BPE:  # the merges of a longer word may include a shorter one
            single = dict.fromkeys(sorted(single, key=len))
        model = model.add_tokens_to_vocabulary(list(single), preprocess_tokens=False)
    if multiple:
        model = model.remove_tokens_from_vocabulary([word for word in multiple if word in model.vocabulary])
        model = model.add_addedtokens(list(multiple), is_special=False, single_word=False, normalized=True)
    return model


class _TeacherIds:
    """The teacher's ids of the new vocabulary's tokens."""

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
        """Return the ids of a token that the teacher lacks."""
        as_bytes = self._in_bytes and token not in self._as_written
        text = ByteLevel().decode([token]) if as_bytes else token
        return list(self._backend.encode(text, add_special_tokens=False).ids)


def _written(tokenizer: Tokenizer) -> str:
    """Serialise the tokenizer with truncation at the default length, and without padding."""
    tokenizer.enable_truncation(DEFAULT_MAX_LENGTH)
    if padding := tokenizer.padding:
        tokenizer.enable_padding(pad_id=padding["pad_id"], pad_token=padding["pad_token"], length=0)
    text: str = tokenizer.to_str()
    return text


@contextmanager
def _quiet_skeletoken() -> Iterator[None]:
    logger = logging.getLogger("skeletoken")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it logs every repair of a tokenizer
    try:
        yield
    finally:
        logger.setLevel(level)
