"""Records of the same kind, of another kind, and models with a baseline of the first."""

from dataclasses import replace

import numpy as np

from distill.heads import DriftRecords, fit_drift
from encoder import Encoder
from encoder.model import load_model, save_model

__all__ = ["STRANGE", "usual", "with_baseline"]

STRANGE = "zzzz qqqq xxxx"
WORDS = ("card used in lisbon", "order paid at", "login failed")


def usual(n, seed=0):
    """n texts."""
    random = np.random.default_rng(seed)
    return [f"{WORDS[k]} {i}" for k, i in random.integers(0, (3, 50), (n, 2))]


def with_baseline(model, folder, n=800):
    """The model of a folder, with a baseline of usual texts, in another folder."""
    plain, texts = load_model(model), usual(n)
    head, _ = fit_drift("usual", DriftRecords.of(Encoder(plain), texts))
    return save_model(replace(plain, heads=(head,)), folder)
