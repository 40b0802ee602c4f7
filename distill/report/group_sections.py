"""The section of a report that lists the groups of a version's heads."""

import re
from collections.abc import Iterable
from typing import Any

from jinja2 import Environment

from encoder.heads.groups import Groups

__all__ = ["group_section", "without_group_section"]

_MOST = 100  # groups of a head
_MOST_TEMPLATES = 5  # of a group
_HTML = """\
<section id="record-groups">
<h2>Groups</h2>
{% for head in heads %}
<p class="note"><b>{{ head.name }}</b>: {{ head.n_groups }} groups of {{ head.n_records }} records\
{% if head.more %}; the largest {{ head.groups|length }} are listed{% endif %}. Open one to see its \
templates, and its records on the map if there are any.</p>
{% for one in head.groups %}
<details data-group="{{ one.id }}">
<summary>{{ one.size }} · {{ one.title }}</summary>
{% for template in one.templates %}
<p>{{ template }}</p>
{% endfor %}
{% if one.example %}
<p class="note">A record: {{ one.example }}</p>
{% endif %}
<p class="note">ID {{ one.id }}{% if one.first_seen %}, first seen {{ one.first_seen }}{% endif %}\
{% if one.more %}, {{ one.more }} more templates{% endif %}</p>
</details>
{% endfor %}
{% endfor %}
</section>
"""
_IN_PAGE = re.compile(r'<section id="record-groups">.*?</section>\n', re.DOTALL)


def without_group_section(page: str) -> str:
    """A page without the section."""
    return _IN_PAGE.sub("", page)


def group_section(heads: Iterable[Groups], environment: Environment) -> str:
    """The section; empty if there are no such heads."""
    found = [_of_head(head) for head in heads]
    return environment.from_string(_HTML).render(heads=found) if found else ""


def _of_head(head: Groups) -> dict[str, Any]:
    templates: list[list[str]] = [[] for _ in head.sizes]
    for text, group in zip(head.templates.tolist(), head.group.tolist(), strict=True):
        templates[group].append(text)
    columns = (head.ids, head.titles, head.first_seen, head.examples)
    rows = zip(*(column.tolist() for column in columns), head.sizes.tolist(), templates, strict=True)
    groups = [
        {
            "id": id_,
            "title": title,
            "first_seen": first_seen,
            "example": example,
            "size": f"{size:,}",
            "templates": some[:_MOST_TEMPLATES],
            "more": max(len(some) - _MOST_TEMPLATES, 0),
        }
        for id_, title, first_seen, example, size, some in sorted(rows, key=lambda row: -row[4])[:_MOST]
    ]
    return {
        "name": head.name,
        "n_groups": f"{len(head.sizes):,}",
        "n_records": f"{head.sizes.sum():,}",
        "more": len(head.sizes) > len(groups),
        "groups": groups,
    }
