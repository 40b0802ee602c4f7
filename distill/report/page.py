"""The page, out of what was measured."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from distill.evaluation.evaluate import Evaluation
from distill.evaluation.sets import Records
from distill.report.charts import HEIGHT, WIDTH, band, curve, quality_rows
from distill.report.groups import Groups, by_cluster, by_label
from distill.report.histogram import component_shares, dimension_shares, length_classes, token_lengths
from distill.report.neighbours import examples
from distill.report.projection import project
from encoder.encoder import Encoder
from encoder.model import StaticModel

__all__ = ["render_report"]

_ANONYMOUS = 600  # points of a map without texts
_MOST_CHARS = 300  # of a record's text
_FEWEST = 3  # records that make a map


def render_report(
    model: StaticModel,
    evaluations: Sequence[Evaluation],
    *,
    texts: Iterable[str],
    records: Records | None = None,
    subject: str = "records",
    shown: int = 0,
    facts: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> str:
    """Write the report of a model, as one HTML page without anything to fetch.

    Args:
        model: what it is about.
        evaluations: of the model, then of those to compare it with; the second one is the reference.
        texts: any texts; how often they have each token is the tokens' frequency.
        records: what the map is made of, the same as in the evaluations.
        subject: what the page calls them.
        shown: how many of the records may be written into the page. With 0 the map has points without texts,
            and there are no lists of neighbours.
        facts: where the model comes from, by names for people.
        parameters: how it was made; any JSON.
    """
    own = evaluations[0]
    reference = next((one for one in evaluations[1:] if one.vectors is not None), None)
    picture = _map(records, own, reference, shown) if records is not None and own.vectors is not None else {}
    style, script = _file("style.css"), _file("script.js")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page: str = environment.from_string(_file("template.html")).render(
        style=Markup(style),  # noqa: S704 - files of ours
        script=Markup(script),  # noqa: S704 - as above
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        name=own.model,
        models=[_model(one) for one in evaluations],
        tokens=len(model.table) if model.mapping is None else len(model.mapping),
        dtype=model.table.dtype.name,
        rows=quality_rows(evaluations),
        width=WIDTH,
        height=HEIGHT,
        variance=_variance(own, reference),
        band=band(_classes(model, texts)),
        facts=facts or {},
        parameters={key: json.dumps(value, ensure_ascii=False) for key, value in (parameters or {}).items()},
        picture=picture,
        subject=subject,
    )
    return page


def _file(name: str) -> str:
    return (files("distill.report") / name).read_text(encoding="utf-8")


def _model(one: Evaluation) -> dict[str, Any]:
    return {
        "name": one.model,
        "kind": one.kind,
        "dim": one.dim,
        "megabytes": None if one.n_bytes is None else one.n_bytes / 1e6,
        "rate": one.texts_per_second,
    }


def _classes(model: StaticModel, texts: Iterable[str]) -> Any:
    lengths = token_lengths(model)
    ids = Encoder(model).tokenise(list(texts)).ids
    return length_classes(lengths, np.bincount(ids, minlength=len(lengths))[: len(lengths)])


def _variance(own: Evaluation, reference: Evaluation | None) -> dict[str, Any]:
    """The curves of shares of the variance: the model's dimensions, the reference's components."""
    if own.vectors is None:
        return {}
    n_most = own.dim
    lines = [
        {"name": f"{own.model}, dimension by dimension", "line": _cut(dimension_shares(own.vectors), n_most)}
    ]
    kept = None
    if reference is not None and reference.vectors is not None:
        shares = component_shares(reference.vectors)
        n_most = max(own.dim, len(shares))
        kept = float(shares[min(own.dim, len(shares)) - 1])
        lines[0]["line"] = _cut(dimension_shares(own.vectors), n_most)
        lines.append({"name": f"{reference.model}, by principal components", "line": _cut(shares, n_most)})
    return {"lines": lines, "n_most": n_most, "kept": kept, "dim": own.dim}


def _cut(shares: NDArray[np.float64], n_most: int) -> str:
    return curve(shares, n_most)


def _map(records: Records, own: Evaluation, reference: Evaluation | None, shown: int) -> dict[str, Any]:
    """The points of the map, their groups, and the lists of neighbours."""
    n_points = min(shown or _ANONYMOUS, len(records.texts))
    vectors = own.vectors[:n_points]  # type: ignore[index] # the caller looked
    if n_points < _FEWEST:
        return {}
    texts = [text[:_MOST_CHARS] for text in records.texts[:n_points]] if shown else None
    if texts is not None and records.labels is not None:
        groups = by_label(records.labels[:n_points])
    else:
        groups = by_cluster(vectors, texts)
    places = project(vectors)
    points: list[dict[str, Any]] = [
        {"x": round(float(x), 4), "y": round(float(y), 4), "g": int(group)}
        for (x, y), group in zip(places, groups.numbers, strict=True)
    ]
    if texts is None:
        return {"points": points, "groups": groups.names, "texts": False, "examples": [], "names": []}
    for point, text, label in zip(points, texts, records.labels or texts, strict=False):
        point["t"] = text
        if records.labels is not None:
            point["l"] = label
    return {
        "points": points,
        "groups": groups.names,
        "texts": True,
        "examples": _examples(vectors, reference, n_points, groups, texts),
        "names": [own.model] if reference is None else [own.model, reference.model],
    }


def _examples(
    vectors: NDArray[np.float32],
    reference: Evaluation | None,
    n_points: int,
    groups: Groups,
    texts: list[str],
) -> list[dict[str, Any]]:
    models = [vectors]
    if reference is not None and reference.vectors is not None:
        models.append(reference.vectors[:n_points])
    return [
        {
            "text": texts[example.record],
            "lists": [
                [{"text": texts[near.record], "cosine": near.cosine, "shared": near.shared} for near in one]
                for one in example.lists
            ],
        }
        for example in examples(models, groups)
    ]
