"""`millstream warm`: compiles the kernels and downloads a version, as the last step of an image build."""

import json
from typing import Annotated, Any

import typer

from encoder.errors import ConfigurationError
from pipelines.cli.options import AsJson

__all__ = ["warm"]


def warm(
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="REF",
            help="Model version to download and check as well, such as s3://bucket/models/minilm@7.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile the encoder ahead of time, so that later processes start fast.

    The code is for this processor. It is stored beside the installed package or, if that is read-only, in
    the user cache. NUMBA_CACHE_DIR sets another folder.
    """
    from encoder.kernels.compiled import code_folders
    from encoder.warm import warm_kernels
    from pipelines.enrich.model_version import ModelVersion

    done = warm_kernels()
    if not done.folders:
        folders = " or ".join(map(str, code_folders()))
        raise ConfigurationError(
            f"cannot write compiled code to {folders}: set NUMBA_CACHE_DIR to a writable folder"
        )
    outcome: dict[str, Any] = {
        "compiled": done.compiled,
        "seconds": round(done.seconds, 1),
        "folders": list(map(str, done.folders)),
        "processor": done.processor,
    }
    if ref is not None:
        version = ModelVersion.resolve(ref)
        outcome["model"] = ref if version.version is None else f"{ref} ({version.digest[:19]})"
    typer.echo(json.dumps(outcome) if as_json else _in_words(outcome))


def _in_words(outcome: dict[str, Any]) -> str:
    what = (
        f"{outcome['compiled']} functions compiled"
        if outcome["compiled"]
        else "everything is compiled already"
    )
    lines = [f"{what} in {outcome['seconds']} s, for {outcome['processor']}"]
    lines += [f"  compiled code: {folder}" for folder in outcome["folders"]]
    if "model" in outcome:
        lines.append(f"  model: {outcome['model']}")
    return "\n".join(lines)
