"""The model card: the README.md of a model folder, with metadata for the Hugging Face Hub."""

import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError

from distill.corpus_fit.fit import CorpusReport
from distill.evaluation.evaluate import Evaluation, side_by_side
from distill.report.markdown import markdown_table
from distill.teacher.loading import teacher_name
from encoder.model import StaticModel

__all__ = ["model_card"]

_CARD = """---
{metadata}
---

# {name}

A static embedding model, distilled from {teacher} by Millstream: {tokens:,} tokens, {dim} dimensions,
{dtype}. A text's vector is the mean of its token vectors, which takes microseconds on a CPU.

## Use

```python
from encoder import Encoder

vectors = Encoder.load("path/to/this/folder").encode(["a text", "another"])
```

The folder is in model2vec's format, so model2vec loads it too:

```python
from model2vec import StaticModel

vectors = StaticModel.from_pretrained("path/to/this/folder").encode(["a text", "another"])
```
{sentence_transformers}
{quality}
## How it was made

The teacher embedded every vocabulary entry by itself. {made}
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
"""The Hub's names of the tasks; it has none for agreement with another model."""

_POOLED = "Its hidden states were pooled ({pooling})"
_PLAIN = "{pooled}, reduced by PCA ({pca}), and weighted by smooth inverse frequency ({sif})."
_FITTED = """\
{pooled}{weighted}, and aligned by least squares to the teacher's vectors of texts, reduced by PCA ({pca}). \
The table was then fitted to {texts:,} texts by ridge regression (λ = {strength}){refined}. On {held_out:,} \
held-out texts of that corpus, the mean cosine with the teacher was {cosine_aligned:.3f} before this \
regression and {cosine_fitted:.3f} after it.{blended}"""
_WEIGHTED = ", weighted by smooth inverse frequency ({sif})"
_REFINED = ", and refined by gradient descent on the similarities between texts"
_BLENDED = """ \
Finally, the plain distillation's vectors (PCA{sif}) were concatenated at {blend:.2g} times the length of \
the fitted ones, and the table keeps the {dim} axes along which the texts' vectors are longest."""

_SENTENCE_TRANSFORMERS = """
sentence-transformers loads it as well:

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
        teacher: the teacher as passed to `distill`; its card provides licence and language.
        revision: the teacher's branch, tag or commit on the Hub.
        report: how the fit to a corpus went, if there was one.
        quality: the evaluations of the model and of the models to compare with.
    """
    title, dtype = teacher_name(teacher), model.table.dtype.name
    return _CARD.format(
        metadata=_metadata(name, teacher, revision, quality).to_yaml(),
        name=name,
        teacher=title if _is_folder(teacher) else f"[{title}](https://huggingface.co/{title})",
        tokens=len(model.table) if model.mapping is None else len(model.mapping),
        dim=model.dim,
        dtype=dtype,
        # torch's embedding lookup needs floats
        sentence_transformers="" if dtype == "int8" else _SENTENCE_TRANSFORMERS,
        quality=_table(quality) if quality else "",
        made=_made(model.config, model.dim, report),
    )


def _is_folder(teacher: str | os.PathLike[str]) -> bool:
    return Path(teacher).expanduser().is_dir()


def _metadata(
    name: str, teacher: str | os.PathLike[str], revision: str | None, quality: Sequence[Evaluation]
) -> ModelCardData:
    """Return the metadata; licence and language are the teacher's."""
    card = _teacher_card(teacher, revision)
    return ModelCardData(
        library_name="model2vec",
        base_model=None if _is_folder(teacher) else str(teacher),
        license=card.license,
        license_name=card.get("license_name"),
        license_link=card.get("license_link"),
        language=card.language,
        model_name=name if quality else None,
        eval_results=_results(quality[0]) if quality else None,
        tags=["embeddings", "static-embeddings", "sentence-transformers", "model2vec", "millstream"],
    )


def _results(measured: Evaluation) -> list[EvalResult]:
    """Return the figures for the Hub's model-index."""
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
    """Return the figures of all models as a table."""
    rows = [
        [row.metric, row.dataset, *("-" if figure is None else str(figure) for figure in row.figures)]
        for row in side_by_side(quality)
    ]
    table = markdown_table(["metric", "set", *(one.model for one in quality)], rows, numbers_from=2)
    return f"\n## Quality\n\nFigures with 95 % bootstrap intervals.\n\n{table}"


def _made(config: dict[str, Any], dim: int, report: CorpusReport | None) -> str:
    """Describe how the table was made."""
    sif = config["sif_coefficient"]
    values = {
        "pooled": _POOLED.format(pooling=config["pooling"]),
        "pca": "none" if config["apply_pca"] is None else config["apply_pca"],
        "sif": "none" if sif is None else sif,
    }
    if report is None:
        return _PLAIN.format(**values)
    plain_sif = "" if sif is None else ", smooth inverse frequency"
    return _FITTED.format(
        **values,
        **asdict(report),
        weighted=_WEIGHTED.format(sif=sif) if report.weights == "sif" else "",
        refined="" if report.loss_refined is None else _REFINED,
        strength="∞" if report.penalty is None else f"{report.penalty:g}",
        blended=_BLENDED.format(blend=report.blend, dim=dim, sif=plain_sif) if report.blend else "",
    )


def _teacher_card(teacher: str | os.PathLike[str], revision: str | None) -> ModelCardData:
    """Read the metadata of the teacher's card; empty if there is no readable card."""
    folder = Path(teacher).expanduser()
    try:
        local = folder / "README.md"
        path = local if folder.is_dir() else hf_hub_download(str(teacher), "README.md", revision=revision)
        data: ModelCardData = ModelCard.load(path).data
    except (OSError, ValueError, HfHubHTTPError):
        return ModelCardData()
    return data
