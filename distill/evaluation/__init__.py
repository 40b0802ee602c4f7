"""Evaluation: how good a model's vectors are, compared with its teacher, an earlier version, or word vectors.

    from distill.evaluation import Pairs, Sets, evaluate, open_model

    sets = Sets(pairs=(Pairs("sts", ["a cat", "a dog"], ["a kitten", "a train"], [4.5, 0.5]),))
    print(evaluate(open_model("./minilm"), sets).figures)

Every figure has a bootstrap interval. `agreement` compares with a reference model and needs no labels,
`labelled` uses the labels of your own records, and `sts`, `classification` and `retrieval` follow MTEB's
protocol on standard sets. `requirements` checks figures before a model is published.
"""

from distill.evaluation.evaluate import Evaluation, FigureRow, evaluate, evaluate_all, side_by_side
from distill.evaluation.figures import METRICS, Figure
from distill.evaluation.models import EmbeddingModel, open_model, static_model
from distill.evaluation.requirements import Requirement, check_measurable, check_sets, unmet
from distill.evaluation.sets import Classification, Labelled, Pairs, Records, Retrieval, Sets

__all__ = [
    "METRICS",
    "Classification",
    "EmbeddingModel",
    "Evaluation",
    "Figure",
    "FigureRow",
    "Labelled",
    "Pairs",
    "Records",
    "Requirement",
    "Retrieval",
    "Sets",
    "check_measurable",
    "check_sets",
    "evaluate",
    "evaluate_all",
    "open_model",
    "side_by_side",
    "static_model",
    "unmet",
]
