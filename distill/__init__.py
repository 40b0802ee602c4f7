"""Distillation: turn a sentence transformer into a static embedding model.

    from distill import distill
    from encoder import Encoder
    from encoder.model import save_model

    result = distill("sentence-transformers/all-MiniLM-L6-v2", dims=256)
    save_model(result.model, "minilm")
    vectors = Encoder.load("minilm").encode(["card declined", "payment refused"])

`distill()` runs these steps: `vocabulary` chooses the tokens, `teacher` embeds each of them, and `table`
reduces and weights the vectors. With a corpus, `corpus_fit` then fits the table to the teacher's vectors of
the texts. `evaluation` measures a model, `report` writes the model card and the HTML report, and `heads` fits
classifiers.
"""

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from encoder.errors import MissingExtra

if TYPE_CHECKING:
    from distill.corpus_fit.fit import CorpusReport
    from distill.distillation import DistillationResult, distill
    from distill.report.model_card import model_card
    from distill.teacher.loading import teacher_bytes

__all__ = ["CorpusReport", "DistillationResult", "distill", "model_card", "teacher_bytes"]

_MODULES = {
    "CorpusReport": "distill.corpus_fit.fit",
    "DistillationResult": "distill.distillation",
    "distill": "distill.distillation",
    "model_card": "distill.report.model_card",
    "teacher_bytes": "distill.teacher.loading",
}

for _module in ("torch", "transformers", "sentence_transformers", "skeletoken", "sklearn"):
    if find_spec(_module) is None:
        raise MissingExtra(_module, "distill")


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import, and heads and evaluation do not need it.
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
