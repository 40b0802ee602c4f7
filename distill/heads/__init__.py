"""Heads: small models that predict labels or scores from a record's vector, fitted to labelled records.

    from distill.heads import embed, fit_classifier

    head, report = fit_classifier("fraud", embed(encoder, texts, [("spam",), ("ham",), ...]))
    save_model(replace(model, heads=(*model.heads, head)), "./with-head")

`classifier`, `prototypes`, `novelty`, `cases` and `drift` fit the kinds of heads to `examples`, `calibration`
calibrates probabilities, and `evaluation` measures a head. `encoder.heads` computes scores, without
scikit-learn.
"""

from distill.heads.cases import CasesReport, fit_cases, with_cases, without_cases
from distill.heads.classifier import ClassifierReport, ClassWeight, fit_classifier
from distill.heads.drift import DriftRecords, DriftReport, fit_drift
from distill.heads.examples import Examples, embed
from distill.heads.novelty import AXES, fit_novelty
from distill.heads.prototypes import fit_prototypes

__all__ = [
    "AXES",
    "CasesReport",
    "ClassWeight",
    "ClassifierReport",
    "DriftRecords",
    "DriftReport",
    "Examples",
    "embed",
    "fit_cases",
    "fit_classifier",
    "fit_drift",
    "fit_novelty",
    "fit_prototypes",
    "with_cases",
    "without_cases",
]
