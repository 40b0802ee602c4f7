"""Render the report page from evaluations."""

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
from distill.report.groups import Groups, by_cluster, by_head, by_label
from distill.report.histogram import component_shares, dimension_shares, length_classes, token_lengths
from distill.report.live import program, runs_in_browser
from distill.report.neighbours import examples
from distill.report.projection import project
from encoder.encoder import Encoder
from encoder.heads.groups import Grouped
from encoder.heads.groups import Groups as RecordGroups
from encoder.heads.scoring import Heads
from encoder.model import StaticModel

__all__ = ["render_report"]

_ANONYMOUS_POINTS = 600  # on a map without texts
_MAX_CHARS = 300  # of a record's text
_MIN_POINTS = 3  # on a map


def render_report(
    model: StaticModel,
    evaluations: Sequence[Evaluation],
    *,
    texts: Iterable[str],
    records: Records | None = None,
    subject: str = "records",
    shown: int = 0,
    metadata: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> str:
    """Render the report of a model as one self-contained HTML page.

    Args:
        model: the model.
        evaluations: of the model, then of the models to compare with; the second one is the reference.
        texts: texts to count token frequencies in.
        records: the records of the map, the same as in the evaluations.
        subject: what the page calls the records.
        shown: how many records' texts may appear on the page, with the model's masks. With 0, the map shows
            points without texts and there are no lists of neighbours.
        metadata: where the model comes from, by readable names.
        parameters: how it was made; any JSON.
    """
    own = evaluations[0]
    reference = next((one for one in evaluations[1:] if one.vectors is not None), None)
    return _render(
        name=own.model,
        models=[_model(one) for one in evaluations],
        tokens=len(model.table) if model.mapping is None else len(model.mapping),
        dtype=model.table.dtype.name,
        rows=quality_rows(evaluations),
        variance=_variance(own, reference),
        band=band(_length_classes(model, texts)),
        metadata=metadata or {},
        parameters={key: json.dumps(value, ensure_ascii=False) for key, value in (parameters or {}).items()},
        picture=_map(records, model, own, reference, shown) if records is not None else {},
        live=Markup(program()) if runs_in_browser(model) else "",  # noqa: S704 - our own files
        subject=subject,
    )


def _render(**values: Any) -> str:
    """Fill the template; the page's security policy allows only its own scripts, by digest."""
    style, script = _file("style.css"), _file("script.js")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page: str = environment.from_string(_file("template.html")).render(
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=_digest(script),
        live_hash=_digest(values["live"]),
        width=WIDTH,
        height=HEIGHT,
        **values,
    )
    return page


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


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


def _length_classes(model: StaticModel, texts: Iterable[str]) -> Any:
    lengths = token_lengths(model)
    ids = Encoder(model).tokenise(list(texts)).ids
    return length_classes(lengths, np.bincount(ids, minlength=len(lengths))[: len(lengths)])


def _variance(own: Evaluation, reference: Evaluation | None) -> dict[str, Any]:
    """Compute the variance curves of the model's dimensions and of the reference's principal components."""
    if own.vectors is None:
        return {}
    curves = {f"{own.model}, dimensions": dimension_shares(own.vectors)}
    kept = None
    if reference is not None and reference.vectors is not None:
        shares = component_shares(reference.vectors)
        kept = float(shares[min(own.dim, len(shares)) - 1])
        curves[f"{reference.model}, principal components"] = shares
    max_dims = max(own.dim, *map(len, curves.values()))
    lines = [{"name": name, "line": curve(shares, max_dims)} for name, shares in curves.items()]
    return {"lines": lines, "max_dims": max_dims, "kept": kept, "dim": own.dim}


def _map(
    records: Records, model: StaticModel, own: Evaluation, reference: Evaluation | None, shown: int
) -> dict[str, Any]:
    """Compute the points of the map, their groups, and the lists of neighbours."""
    n_points = min(shown or _ANONYMOUS_POINTS, len(records.texts))
    if own.vectors is None or n_points < _MIN_POINTS:
        return {}
    vectors = own.vectors[:n_points]
    plain = records.texts[:n_points]
    texts = [text[:_MAX_CHARS] for text in model.masks(plain).to_pylist()] if shown else None
    ids, of_head = _record_groups(model, vectors, plain)
    if texts is not None and records.labels is not None:
        groups = by_label(records.labels[:n_points])
    else:
        groups = of_head or by_cluster(vectors, texts)
    points: list[dict[str, Any]] = [
        {"x": round(float(x), 4), "y": round(float(y), 4), "g": int(group)}
        for (x, y), group in zip(project(vectors), groups.numbers, strict=True)
    ]
    for point, id_ in zip(points, ids, strict=False):
        point["r"] = id_
    if texts is None:
        return {"points": points, "groups": groups.names, "texts": False, "examples": [], "names": []}
    for point, text, label in zip(points, texts, records.labels or texts, strict=False):
        point["t"] = text
        if records.labels is not None:
            point["l"] = label
    return {
        "points": points,
        "groups": groups.names,
        "opens": bool(ids),
        "texts": True,
        "examples": _examples(vectors, reference, n_points, groups, texts),
        "names": [own.model] if reference is None else [own.model, reference.model],
    }


def _record_groups(
    model: StaticModel, vectors: NDArray[Any], texts: Sequence[str]
) -> tuple[list[str | None], Groups | None]:
    """The ID of each record's group by the model's first head of groups, and the colours of these groups."""
    head = next((head for head in model.heads if isinstance(head, RecordGroups)), None)
    if head is None:
        return [], None
    heads = Heads([head], unit=model.normalize, masks=model.masks)
    [outcome] = heads(np.asarray(vectors, np.float32), texts)
    assert isinstance(outcome, Grouped)
    ids = head.ids.tolist()
    return [None if k < 0 else ids[k] for k in outcome.group.tolist()], by_head(head, outcome.group)


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
