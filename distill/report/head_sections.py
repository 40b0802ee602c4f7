"""The section about heads in a version's report and model card."""

import re
from collections.abc import Iterable, Sequence

from jinja2 import Environment, StrictUndefined

from distill.report.drift_sections import drift_section, without_drift_section
from distill.report.group_sections import group_section, without_group_section
from distill.report.markdown import markdown_table
from encoder.heads.cases import Cases
from encoder.heads.drift import Drift
from encoder.heads.groups import Groups
from encoder.heads.scoring import Classifier, Head, Prototypes

__all__ = ["card_with_heads", "page_with_heads"]

_COLUMNS = ("head", "kind", "output", "fitted to", "held-out figures")
_MAX_LABELS = 6  # listed by name
_HTML = """\
<section id="heads">
<h2>Heads</h2>
<p class="note">A head predicts labels or scores from a record's vector. Figures are from records held out of
its fit.</p>
<div class="wide">
<table>
<thead><tr>{% for column in columns %}<th>{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
</section>
"""
_IN_PAGE = re.compile(r'<section id="heads">.*?</section>\n', re.DOTALL)
_IN_CARD = re.compile(r"## Heads\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_NEXT_IN_PAGE = '<section id="lineage">'
_NEXT_IN_CARD = "## How it was made\n"


def page_with_heads(page: str, heads: Iterable[Head]) -> str:
    """Replace the sections about heads, groups and drift in a report; other pages stay unchanged."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    heads = list(heads)
    rows = _rows(heads)
    section = environment.from_string(_HTML).render(columns=_COLUMNS, rows=rows) if rows else ""
    section += group_section([head for head in heads if isinstance(head, Groups)], environment)
    section += drift_section([head for head in heads if isinstance(head, Drift)], environment)
    page_without = without_drift_section(without_group_section(_IN_PAGE.sub("", page)))
    before, mark, after = page_without.rpartition(_NEXT_IN_PAGE)
    return f"{before}{section}{mark}{after}" if mark else page


def card_with_heads(card: str, heads: Iterable[Head]) -> str:
    """Replace the section about heads in a model card."""
    table = markdown_table(_COLUMNS, _rows(heads))
    section = f"## Heads\n\nPipelines and the worker add these outputs to each record:\n\n{table}\n"
    card = _IN_CARD.sub("", card)
    before, mark, after = card.rpartition(_NEXT_IN_CARD)
    return f"{before}{section}{mark}{after}" if mark else f"{card.rstrip()}\n\n{section}".rstrip() + "\n"


def _rows(heads: Iterable[Head]) -> list[list[str]]:
    """Return a row for each head, sorted by name."""
    return [
        [head.name, head.kind, _output(head), *_fitted(head)]
        for head in sorted(heads, key=lambda head: head.name)
    ]


def _output(head: Head) -> str:
    if isinstance(head, Classifier):
        return f"{'any' if head.multi_label else 'one'} of {_listed(head.labels)}"
    if isinstance(head, Cases):
        some = "" if head.nearest == 1 else f"the nearest {head.nearest}, and "
        return f"{some}the nearest of {len(head.ids):,} cases; a match from a cosine of {head.threshold:.3f}"
    if isinstance(head, Drift):
        return f"no column: windows of records are compared with {len(head.centres)} groups of the baseline"
    if isinstance(head, Groups):
        near = "" if head.vectors is None else f"; or the nearest from a cosine of {head.threshold:.3f}"
        return f"one of {len(head.ids):,} groups by {len(head.templates):,} templates{near}"
    if isinstance(head, Prototypes):
        return f"the nearest of {_listed(head.names)}; a match from a cosine of {head.threshold:.3f}"
    return f"the distance from normal records; novel above {head.threshold:.3f}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_LABELS:,} more" if len(names) > _MAX_LABELS else ""
    return f"{len(names):,}: {', '.join(names[:_MAX_LABELS])}{more}"


def _fitted(head: Head) -> tuple[str, str]:
    """Return the records that a head was fitted to, and its held-out figures."""
    known = head.metadata
    if isinstance(head, Cases):
        labelled = f"{len(head.ids):,} cases with {_listed(head.labels)}"
        if "recall" not in known:
            return labelled, "-"
        return labelled, "precision {precision:.3f}, recall {recall:.3f}".format(**known)
    if isinstance(head, Prototypes):
        return f"{sum(known.get('examples', {}).values()):,} examples", "-"
    records = f"{known['records']:,} records" if "records" in known else "-"
    if isinstance(head, Classifier) and {"accuracy", "log_loss", "ece"} <= set(known):
        figures = "accuracy {accuracy:.3f}, log loss {log_loss:.3f}, calibration error {ece:.3f}"
        return records, figures.format(**known)
    if isinstance(head, Drift):
        return (
            records,
            "held-out windows: up to {held_out_drift:.1f} times as far as independent records".format(
                **known
            ),
        )
    if "alert_rate" in known:
        return f"{records}, with an alert rate of {known['alert_rate']:.3%}", "-"
    return records, "-"
