"""The model card: the README.md of a model folder, with the metadata that the Hugging Face Hub reads."""

import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError

from distill.corpus_fit.fit import CorpusReport
from distill.evaluation.evaluate import Evaluation
from distill.report.markdown import markdown_table
from distill.teacher.loading import teacher_name
from encoder.model import StaticModel

__all__ = ["model_card"]

_CARD = """---
{metadata}
---

# {name}

A static embedding model, distilled from {teacher} by Millstream: {tokens:,} tokens, {dim} dimensions,
{dtype}. A text's vector is the mean of its tokens' vectors, so it takes microseconds on a CPU.

## Use

```python
from encoder import Encoder

vectors = Encoder.load("path/to/this/folder").encode(["a text", "another"])
```

The folder has model2vec's format and loads there too:

```python
from model2vec import StaticModel

vectors = StaticModel.from_pretrained("path/to/this/folder").encode(["a text", "another"])
```
{sentence_transformers}
{quality}
## How it was made

Every entry of the vocabulary went through the teacher by itself; the hidden states were pooled ({pooling}), \
{made}.
"""

_TASKS = {
    "sts": "sentence-similarity",
    "knn": "text-classification",
    "logistic": "text-classification",
    "average-precision": "text-classification",
    "classification": "text-classification",
    "ndcg@10": "text-retrieval",
    "recall@10": "text-retrieval",
}
"""The Hub's names of the tasks; agreement with another model has none of its own."""

_PLAIN = "reduced by PCA ({pca}), and weighted by smooth inverse frequency ({sif})"
_WEIGHTED = "weighted by smooth inverse frequency ({sif}), and "
_FITTED = """\
{weighted}aligned by least squares to the teacher's vectors of \
texts, reduced by PCA ({pca}). From there the table was fitted to {texts:,} texts by ridge regression \
(λ = {strength}){refined}{blended}. On {held_out:,} other texts of that corpus the mean cosine \
with the teacher was {cosine_fitted:.3f} after this regression ({cosine_aligned:.3f} before)"""
_REFINED = ", and refined by gradient steps on the similarities between texts"

_BLENDED = """\
. The vectors of plain distillation (PCA{sif}) were put beside, {blend:.2g} times as long, and the {dim} \
axes kept along which texts' vectors are longest"""

_SENTENCE_TRANSFORMERS = """
So does sentence-transformers:

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("path/to/this/folder").encode(["a text", "another"])
```
"""


def model_card(
    model: StaticModel,
    *,
    name: str,
    teacher: str | os.PathLike[str],
    revision: str | None = None,
    report: CorpusReport | None = None,
    quality: Sequence[Evaluation] = (),
) -> str:
    """Write the model card of a distilled model.

    Args:
        model: the model.
        name: its name.
        teacher: its teacher, as it was given to `distill`: licence and language come from the teacher's card.
        revision: the teacher's revision on the Hub.
        report: what the fit to a corpus came to, if there was one.
        quality: what was measured, of the model and then of others beside it.
    """
    folder = Path(teacher).expanduser().is_dir()
    theirs = _teacher_card(teacher, revision)
    metadata = ModelCardData(
        library_name="model2vec",
        base_model=None if folder else str(teacher),
        license=theirs.license,
        license_name=theirs.get("license_name"),
        license_link=theirs.get("license_link"),
        language=theirs.language,
        model_name=name if quality else None,
        eval_results=_results(quality[0]) if quality else None,
        tags=["embeddings", "static-embeddings", "sentence-transformers", "model2vec", "millstream"],
    )
    shown = teacher_name(teacher)
    config, dtype = model.config, model.table.dtype.name
    tokens = len(model.table) if model.mapping is None else len(model.mapping)
    return _CARD.format(
        metadata=metadata.to_yaml(),
        name=name,
        teacher=shown if folder else f"[{shown}](https://huggingface.co/{shown})",
        tokens=tokens,
        dim=model.dim,
        dtype=dtype,
        # torch looks vectors up in float tables only
        sentence_transformers="" if dtype == "int8" else _SENTENCE_TRANSFORMERS,
        quality=_table(quality) if quality else "",
        pooling=config["pooling"],
        made=_made(config, model.dim, report),
    )


def _results(measured: Evaluation) -> list[EvalResult]:
    """The figures as the Hub's model-index has them."""
    return [
        EvalResult(
            task_type=_TASKS.get(figure.metric, "feature-extraction"),
            dataset_type=figure.dataset,
            dataset_name=figure.dataset,
            metric_type=figure.metric,
            metric_value=round(figure.value, 4),
        )
        for figure in measured.figures
        if not math.isnan(figure.value)
    ]


def _table(quality: Sequence[Evaluation]) -> str:
    """The figures of all models as a table, with their intervals."""
    by_name = [{(each.metric, each.dataset): each for each in one.figures} for one in quality]
    keys = dict.fromkeys(key for figures in by_name for key in figures)
    rows = [[*key, *(str(figures.get(key, "-")) for figures in by_name)] for key in keys]
    table = markdown_table(["", "set", *(one.model for one in quality)], rows, numbers_from=2)
    return f"\n## Quality\n\nWith the intervals that hold 95 % of the bootstrap's resamples.\n\n{table}"


def _made(config: dict[str, Any], dim: int, report: CorpusReport | None) -> str:
    """How the table came about."""
    keys = {"pca": "apply_pca", "sif": "sif_coefficient"}
    shown = {name: "none" if config[key] is None else config[key] for name, key in keys.items()}
    if report is None:
        return _PLAIN.format(**shown)
    refined = "" if report.loss_refined is None else _REFINED
    weighted = _WEIGHTED.format(**shown) if report.weights == "sif" else ""
    sif = "" if config["sif_coefficient"] is None else ", smooth inverse frequency"
    blended = _BLENDED.format(blend=report.blend, dim=dim, sif=sif) if report.blend else ""
    strength = "∞" if report.penalty is None else f"{report.penalty:g}"
    words = {"weighted": weighted, "refined": refined, "blended": blended, "strength": strength}
    return _FITTED.format(**shown, **asdict(report), **words)


def _teacher_card(teacher: str | os.PathLike[str], revision: str | None) -> ModelCardData:
    """The metadata of the teacher's card; empty where there is no card, or none that can be read."""
    folder = Path(teacher).expanduser()
    try:
        local = folder / "README.md"
        path = local if folder.is_dir() else hf_hub_download(str(teacher), "README.md", revision=revision)
        data: ModelCardData = ModelCard.load(path).data
    except (OSError, ValueError, HfHubHTTPError):
        return ModelCardData()
    return data
