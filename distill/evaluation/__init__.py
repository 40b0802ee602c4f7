"""Evaluation: how good a model's vectors are, beside its teacher, an earlier version or word vectors.

    from distill.evaluation import Pairs, Sets, evaluate, open_model

    sets = Sets(pairs=(Pairs("sts", ["a cat"], ["a kitten"], [4.5]),))
    print(evaluate(open_model("./minilm"), sets).figures)

The sets (`sets.py`) go through each model (`models.py`), and each measure, one a module, gives a figure with
its interval (`figures.py`, `bootstrap.py`): `agreement.py` needs a reference and no label, `labelled.py`
the labels of the user's own records; `sts.py`, `classification.py` and `retrieval.py` are MTEB's protocol on
sets that people know. `requirements.py` says whether figures are good enough to publish,
`checks.py`, before all, whether the sets give any.
"""

from distill.evaluation.checks import check_sets
from distill.evaluation.evaluate import Evaluation, evaluate
from distill.evaluation.figures import METRICS, Figure
from distill.evaluation.models import EmbeddingModel, open_model, static_model
from distill.evaluation.requirements import Requirement, check_measurable, unmet
from distill.evaluation.sets import Classification, Labelled, Pairs, Records, Retrieval, Sets

__all__ = [
    "METRICS",
    "Classification",
    "EmbeddingModel",
    "Evaluation",
    "Figure",
    "Labelled",
    "Pairs",
    "Records",
    "Requirement",
    "Retrieval",
    "Sets",
    "check_measurable",
    "check_sets",
    "evaluate",
    "open_model",
    "static_model",
    "unmet",
]
