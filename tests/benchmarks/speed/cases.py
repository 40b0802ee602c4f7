"""What is measured: the main case with every system, and variations that change one thing each."""

from dataclasses import dataclass

__all__ = ["ASCII", "CASES", "GROUPS", "LANGUAGES", "SHARE", "TIMES", "Case"]

SHARE = 1 / 3  # of ASCII's bytes a second, for every language
TIMES = 8  # model2vec's records a second, for other tokenizers


@dataclass(frozen=True)
class Case:
    """Texts of a kind on one table.

    Attributes:
        group: what varies; "main" is measured with every system, the others with ours and model2vec.
        texts: the kind of texts.
        dtype: the table's number format.
        dim: the table's dimensions.
        tokenizer: "WordPiece" (that of all-MiniLM-L6-v2), "Unigram" or "byte-level BPE".
        fresh: every turn has texts of its own, with words that were not met before; otherwise the same ones.
        goal: records a second that ours is to reach on one core of the reference machine, or None.
    """

    group: str
    texts: str
    dtype: str = "int8"
    dim: int = 256
    tokenizer: str = "WordPiece"
    fresh: bool = False
    goal: float | None = None

    @property
    def name(self):
        own = "" if self.tokenizer == "WordPiece" else f", {self.tokenizer}"
        fresh = ", each once" if self.fresh else ""
        return f"{self.texts}{fresh}, {self.dtype}, {self.dim} dims{own}"


ASCII = "millstream, ASCII"
"""Takes its turns beside every language, because the machine is not equally fast at all times."""

LANGUAGES = ("German", "Russian", "Chinese", "Arabic", "Hindi with emoji")

CASES = (
    Case("main", "log lines", goal=1.0e6),
    Case("main", "sentences", goal=1.3e6),
    Case("tables", "log lines", dtype="float32", goal=0.6e6),
    Case("tables", "sentences", dtype="float32", goal=0.9e6),
    Case("tables", "log lines", dtype="float16"),
    Case("tables", "sentences", dtype="float16"),
    Case("dims", "sentences", dim=64),
    Case("dims", "sentences", dim=512),
    Case("lengths", "10 tokens"),
    Case("lengths", "1,000 tokens"),
    Case("new words", "log lines, new digits", fresh=True),
    Case("new words", "sentences", fresh=True),
    *(Case("languages", language, fresh=True) for language in LANGUAGES),
    Case("tokenizers", "sentences", tokenizer="Unigram"),
    Case("tokenizers", "sentences", tokenizer="byte-level BPE"),
)
GROUPS = tuple(dict.fromkeys(case.group for case in CASES))
