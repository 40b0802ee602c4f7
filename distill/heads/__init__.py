"""Heads are fitted here, from records with labels: classifiers, named prototypes, novelty.

    from distill.heads import embed, fit_classifier

    head, report = fit_classifier("fraud", embed(encoder, texts, [("spam",), ("ham",), ...]))
    save_model(replace(model, heads=(*model.heads, head)), "./with-head")

`examples.py` holds records and holds some of them out, `classifier.py`, `prototypes.py` and `novelty.py` fit,
`calibration.py` makes probabilities come true, `evaluation.py` measures. `encoder.heads` scores, without
scikit-learn.
"""

from distill.heads.classifier import ClassifierReport, ClassWeight, fit_classifier
from distill.heads.examples import Examples, embed
from distill.heads.novelty import AXES, fit_novelty
from distill.heads.prototypes import fit_prototypes

__all__ = [
    "AXES",
    "ClassWeight",
    "ClassifierReport",
    "Examples",
    "embed",
    "fit_classifier",
    "fit_novelty",
    "fit_prototypes",
]
