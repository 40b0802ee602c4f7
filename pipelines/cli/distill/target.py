"""Where the distilled model goes: a new folder, or the next version in a store."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from encoder.errors import ConfigurationError
from pipelines.cli.console import size_text
from pipelines.cli.evaluation.quality_gate import REPORT_FILE, Measured
from pipelines.cli.options import output_option
from pipelines.cli.signing import Signing, SigningOptions

if TYPE_CHECKING:
    from distill import DistillationResult

__all__ = ["Target", "TargetOptions", "summary"]


@dataclass(frozen=True)
class Target:
    """The destination of the model: the folder `output`, or the model `name` of a store, at `uri`, signed."""

    name: str
    output: Path | None = None
    uri: str = ""
    signing: Signing = field(default_factory=Signing)

    def deliver(
        self,
        result: "DistillationResult",
        teacher: str,
        parameters: dict[str, Any],
        measured: Measured,
    ) -> dict[str, Any]:
        """Write the folder or publish the version, and return the outcome as JSON.

        Args:
            result: the model.
            teacher: what it was distilled from, as the user wrote it.
            parameters: how it was made, for its manifest.
            measured: how good it is, and its report.
        """
        from distill import model_card, teacher_bytes
        from encoder.model import save_model

        model, revision = result.model, parameters["revision"]
        card = model_card(
            model,
            name=self.name,
            teacher=teacher,
            revision=revision,
            report=result.report,
            quality=measured.evaluations,
        )
        files: dict[str, Any] = {"readme": card, "more": {REPORT_FILE: measured.report}}
        if self.output is not None:
            folder = save_model(model, self.output, **files)
            size = sum(file.stat().st_size for file in folder.iterdir())
            outcome = {"ref": str(self.output), "model_bytes": size}
        else:
            with tempfile.TemporaryDirectory(prefix="millstream-") as work:
                folder = save_model(model, Path(work) / self.name, **files)
                outcome = self._publish(folder, model.config["tokenizer_name"], parameters, measured.quality)
        return outcome | {
            "corpus": parameters["corpus"],
            "quality": measured.quality,
            "teacher": model.config["tokenizer_name"],
            "teacher_bytes": teacher_bytes(teacher, revision),
            "tokens": len(model.table) if model.mapping is None else len(model.mapping),
            "dim": model.dim,
            "dtype": model.table.dtype.name,
        }

    def _publish(
        self, folder: Path, teacher: str, parameters: dict[str, Any], quality: dict[str, Any] | None
    ) -> dict[str, Any]:
        from encoder.reference import Reference
        from encoder.store.store import ModelStore

        manifest = ModelStore.open(self.uri).publish(
            folder,
            name=self.name,
            teacher=teacher,
            parameters=parameters,
            quality=quality,
            **self.signing.options,
        )
        return {
            "name": manifest.name,
            "version": manifest.version,
            "digest": manifest.digest,
            "ref": str(Reference("store", self.uri, manifest.version)),
            "model_bytes": manifest.size,
        }


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """Where the user wants the model."""

    store: Annotated[
        str | None,
        output_option(
            envvar="MILLSTREAM_STORE",
            metavar="URI",
            help="Store to publish to, such as s3://bucket/models or ./store.",
        ),
    ] = None
    name: Annotated[str | None, output_option(metavar="NAME", help="Name of the model in the store.")] = None
    output: Annotated[
        Path | None,
        output_option(metavar="FOLDER", help="New folder to write the model to, instead of publishing it."),
    ] = None
    signing: SigningOptions

    def check(self, *, store_is_given: bool) -> Target:
        """Check the destination, so that minutes of work are not lost there.

        Args:
            store_is_given: whether the command line names the store, not the environment.

        Raises:
            ConfigurationError: there is no destination, or there are two; or readers would not trust the key.
            OutputConflict: the output folder exists.
            UnsafeStore: the store does not protect versions from being overwritten.
            MissingExtra: a package for a key is not installed.
        """
        store, name, output = self.store, self.name, self.output
        if output is not None:
            if name is not None or store_is_given:
                raise ConfigurationError("give --output, or --store and --name to publish: not both")
            from encoder.atomic_files import check_new_folder

            self.signing.check_unused()
            check_new_folder(output)
            return Target(output.absolute().name, output=output)
        if store is None or name is None:
            missing = "--store" if name else "--name" if store else "--output, or --store and --name"
            raise ConfigurationError(f"where should the model go? Give {missing}")

        from encoder.store.manifest import check_name
        from encoder.store.objects import open_objects
        from encoder.store.publish import prove_create_only
        from encoder.store.store import ModelStore

        objects, signing = open_objects(f"{store.rstrip('/')}/{check_name(name)}"), self.signing.open()
        ModelStore.open(objects.uri).check_signer(signing.signers)
        prove_create_only(objects)
        return Target(name, uri=objects.uri, signing=signing)


def summary(outcome: dict[str, Any]) -> str:
    """What a person is told of an outcome."""
    lines = [f"wrote {outcome['ref']}"]
    if "version" in outcome:
        digest = outcome["digest"][: len("sha256:") + 12]  # enough for a REF
        lines = [f"published {outcome['name']}@{outcome['version']} ({digest})"]
    lines.append(f"{outcome['tokens']:,} tokens, {outcome['dim']} dimensions, {outcome['dtype']}")
    if outcome["corpus"]:
        fit = "fitted to {texts:,} texts; mean cosine with the teacher on {held_out:,} held-out texts: "
        lines.append(f"{fit}{{cosine_fitted:.3f}}".format(**outcome["corpus"]))
        if left_out := outcome["corpus"]["left_out"]:
            lines.append(
                f"{left_out:,} more texts were left out: the teacher had no time for them (--time-budget)"
            )
    lines += [
        "{metric} on {dataset}: {value:.4g} [{low:.4g}, {high:.4g}]".format(**figure)
        for figure in (outcome["quality"] or {}).get("figures", ())
        if figure["value"] is not None
    ]
    of_teacher = f" (the teacher: {size_text(outcome['teacher_bytes'])})" if outcome["teacher_bytes"] else ""
    lines.append(f"{size_text(outcome['model_bytes'])}{of_teacher}, {outcome['seconds']} s")
    lines.append(f"use it as {outcome['ref']}")
    return "\n  ".join(lines)
