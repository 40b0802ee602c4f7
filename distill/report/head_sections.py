"""What a version's report and its model card say of its heads."""

import re
from collections.abc import Iterable, Sequence

from jinja2 import Environment, StrictUndefined

from distill.report.markdown import markdown_table
from encoder.heads.scoring import Classifier, Head, Prototypes

__all__ = ["card_with_heads", "page_with_heads"]

_COLUMNS = ("head", "kind", "says", "fitted to", "held out")
_SHOWN = 6  # labels by name
_HTML = """\
<section id="heads">
<h2>Heads</h2>
<p class="note">What this version says of a record besides its vector; figures are of held-out records.</p>
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
    """A report with its section about heads written anew; a page that is no report of ours stays as it is."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    rows = _rows(heads)
    section = environment.from_string(_HTML).render(columns=_COLUMNS, rows=rows) if rows else ""
    before, mark, after = _IN_PAGE.sub("", page).rpartition(_NEXT_IN_PAGE)
    return f"{before}{section}{mark}{after}" if mark else page


def card_with_heads(card: str, heads: Iterable[Head]) -> str:
    """A model card with its section about heads written anew."""
    table = markdown_table(_COLUMNS, _rows(heads))
    section = f"## Heads\n\nWhat the worker and the pipelines add to a record:\n\n{table}\n"
    card = _IN_CARD.sub("", card)
    before, mark, after = card.rpartition(_NEXT_IN_CARD)
    return f"{before}{section}{mark}{after}" if mark else f"{card.rstrip()}\n\n{section}".rstrip() + "\n"


def _rows(heads: Iterable[Head]) -> list[list[str]]:
    """A row for each head, sorted by name; a head says itself how it was fitted."""
    return [
        [head.name, head.kind, _says(head), *_fitted(head)]
        for head in sorted(heads, key=lambda head: head.name)
    ]


def _says(head: Head) -> str:
    if isinstance(head, Classifier):
        return f"{'any' if head.several else 'one'} of {_some(head.labels)}"
    if isinstance(head, Prototypes):
        return f"the nearest of {_some(head.names)}, from a cosine of {head.threshold:.3f}"
    return f"the distance from what was normal, novel above {head.threshold:.3f}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{len(names):,}: {', '.join(names[:_SHOWN])}{more}"


def _fitted(head: Head) -> tuple[str, str]:
    """What it was fitted to, and what that came to."""
    facts = head.facts
    if isinstance(head, Prototypes):
        return f"{sum(facts.get('examples', {}).values()):,} examples", "-"
    records = f"{facts['records']:,} records" if "records" in facts else "-"
    if isinstance(head, Classifier) and {"accuracy", "log_loss", "ece"} <= set(facts):
        figures = "accuracy {accuracy:.3f}, log loss {log_loss:.3f}, calibration error {ece:.3f}"
        return records, figures.format(**facts)
    if "alert_rate" in facts:
        return f"{records}, to call {facts['alert_rate']:.3%} of them novel", "-"
    return records, "-"
