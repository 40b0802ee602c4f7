"""Distillation: a sentence transformer becomes a static model.

    from distill import distill
    from encoder.model import save_model

    save_model(distill("sentence-transformers/all-MiniLM-L6-v2"), "./minilm")

The way: the vocabulary's entries (`vocabulary.py`) go through the teacher (`teacher.py`, `forward.py`), their
vectors become the table (`table.py`), all of it a `StaticModel` (`distillation.py`) with a card (`card.py`).

With a corpus (`corpus.py`), the teacher embeds its texts too (`sentences.py`, `teacher_vectors.py`), and the
table is the one that follows them best (`corpus_fit.py`: `targets.py`, `pooling.py`, `fit.py`, `refine.py`,
`blend.py`).
"""

from importlib.util import find_spec

from encoder.errors import MissingExtra

for _module in ("torch", "transformers", "sentence_transformers", "skeletoken", "sklearn"):
    if find_spec(_module) is None:
        raise MissingExtra(_module, "distill")

from distill.corpus_fit.fit import CorpusReport  # noqa: E402 - as above
from distill.distillation import SAMPLE, distill  # noqa: E402 - as above
from distill.report.model_card import model_card  # noqa: E402 - a missing extra is named before it is imported
from distill.teacher.loading import teacher_bytes  # noqa: E402 - as above

__all__ = ["SAMPLE", "CorpusReport", "distill", "model_card", "teacher_bytes"]
