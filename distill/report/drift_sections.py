"""The section of a report that says what the records of a drift baseline are like."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from jinja2 import Environment

from encoder.heads.drift import LENGTH, Drift

__all__ = ["drift_section", "without_drift_section"]

_WINDOWS = (1000, 10_000)  # records
_GROUPS = 5  # the largest, of those that the baseline has
_COLUMNS = (
    "measure",
    "in the baseline",
    *(f"differs in {n:,} records if it is below or above" for n in _WINDOWS),
)
_HTML = """\
<section id="drift-baseline">
<h2>Drift</h2>
{% for head in heads %}
<p class="note"><b>{{ head.name }}</b>: what {{ head.n_records }} records were like, in {{ head.n_groups }} \
groups. A window of records differs if a measure is outside of the range; one in a thousand windows of the \
same kind is.\
{% if head.in_bursts %} Records that come together are alike, so the ranges are wide.{% endif %}</p>
<div class="wide">
<table>
<thead><tr>{% for column in columns %}<th>{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in head.rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% endfor %}
</section>
"""
_IN_PAGE = re.compile(r'<section id="drift-baseline">.*?</section>\n', re.DOTALL)
_IN_BURSTS = 2.0  # times as far as independent records; `held_out_drift`


def without_drift_section(page: str) -> str:
    """A page without the section."""
    return _IN_PAGE.sub("", page)


def drift_section(heads: Iterable[Drift], environment: Environment) -> str:
    """The section; empty if there are no such heads."""
    found = [_of_head(head) for head in heads]
    return environment.from_string(_HTML).render(heads=found, columns=_COLUMNS) if found else ""


def _of_head(head: Drift) -> dict[str, Any]:
    n_groups = len(head.centres)
    largest = np.argsort(-head.means[:n_groups], kind="stable")[:_GROUPS].tolist()
    ranges = [_range(head, n) for n in _WINDOWS]
    return {
        "name": head.name,
        "n_records": f"{int(head.counts[0]):,}",
        "n_groups": f"{n_groups:,}",
        "in_bursts": head.metadata.get("held_out_drift", 0) > _IN_BURSTS,
        "rows": [
            [head.measures[k], _shown(head, k, head.means[k]), *(_between(head, k, *one) for one in ranges)]
            for k in [*range(n_groups, len(head.measures)), *largest]
        ],
    }


def _range(head: Drift, n_records: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest mean of each measure in windows that do not differ: `(n_measures,)` each."""
    level = head.level(np.array([float(n_records)]))
    away = level * np.sqrt(head.variances.astype(np.float64) * (1 / n_records + 1 / head.counts))
    return head.means - away, head.means + away


def _between(head: Drift, k: int, least: np.ndarray, most: np.ndarray) -> str:
    low, high = _shown(head, k, least[k]), _shown(head, k, most[k])
    return f"{low} to {high}" if least[k] > 0 else f"above {high}"


def _shown(head: Drift, k: int, mean: float) -> str:
    """A share in percent, or the characters of a text whose logarithm is the mean."""
    if head.measures[k] == LENGTH:
        return f"{np.expm1(mean):.0f} characters"
    return f"{100 * mean:.2f} %"
