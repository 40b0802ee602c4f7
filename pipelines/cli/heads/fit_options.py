"""What all kinds of heads have in common: the model, the destination, and the outcome that is printed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli.heads.labelled_records import LabelledRecords
from pipelines.cli.heads.publish import HeadTarget
from pipelines.cli.options import Mask, Model, fit_option, input_option, output_option
from pipelines.cli.signing import SigningOptions
from pipelines.sources.files.filesystem import last_part

__all__ = ["DestinationOptions", "Seed", "Text", "fitted_to", "print_outcome"]

Text = Annotated[
    str,
    input_option(
        metavar="TEMPLATE", help="Text of a record: a column, or a template such as '{merchant} in {city}'."
    ),
]
Seed = Annotated[int, fit_option(metavar="N", help="Random seed for the held-out records.")]


@dataclass(frozen=True, kw_only=True)
class DestinationOptions:
    """The model that a head is fitted to, and where the model goes with the head."""

    model: Model
    name: Annotated[
        str, fit_option(metavar="NAME", help="Name of the head. The names of its columns start with it.")
    ]
    publish: Annotated[
        bool, output_option("--publish", help="Publish the model with the head as its next version.")
    ] = False
    output: Annotated[
        Path | None,
        output_option(
            metavar="FOLDER", help="New folder for the model with the head, instead of publishing it."
        ),
    ] = None
    replace: Annotated[bool, output_option("--replace", help="Replace a head of the same name.")] = False
    mask: Mask = None
    signing: SigningOptions

    def find(self, *, changes: bool = False) -> HeadTarget:
        """Check the destination before the work begins, as `HeadTarget.find` does.

        Args:
            changes: whether the head of this name is changed, which must be there.
        """
        from encoder.masks import Masks

        if self.output is not None:
            self.signing.check_unused()
        return HeadTarget.find(
            self.model,
            self.name,
            publish=self.publish,
            output=self.output,
            replaces=self.replace,
            changes=changes,
            signing=self.signing.open(),
            masks=None if self.mask is None else Masks.parse(self.mask),
        )


def fitted_to(records: LabelledRecords) -> dict[str, Any]:
    """Describe the records that a head is fitted to, without their path, since the head is published."""
    found = {"input": last_part(records.pattern), "text": records.template.source}
    return found if records.label.name is None else {**found, "label": records.label.name}


def print_outcome(outcome: dict[str, Any], summary: str, *, as_json: bool) -> None:
    """Print where the head is, and a summary; or all of it as JSON."""
    if as_json:
        typer.echo(json.dumps(outcome))
        return
    done = f"wrote {outcome['ref']}"
    if "version" in outcome:
        name = outcome["name"]
        done = f"published {name}@{outcome['version']}: {name}@{outcome['based_on']} with this head"
    typer.echo(f"{done}\n{summary}\n  use it as {outcome['ref']}")
