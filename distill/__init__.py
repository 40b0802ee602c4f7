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

from importlib.util import find_spec

from encoder.errors import MissingExtra

for _module in ("torch", "transformers", "sentence_transformers", "skeletoken", "sklearn"):
    if find_spec(_module) is None:
        raise MissingExtra(_module, "distill")

# ruff: noqa: E402 - a missing extra is reported before anything imports it
from distill.corpus_fit.fit import CorpusReport
from distill.distillation import DistillationResult, distill
from distill.report.model_card import model_card
from distill.teacher.loading import teacher_bytes

__all__ = ["CorpusReport", "DistillationResult", "distill", "model_card", "teacher_bytes"]
