"""Load a teacher, a sentence transformer, from a folder or from the Hugging Face Hub."""

import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

from distill.parameters import Precision
from encoder.errors import ConfigurationError

__all__ = [
    "Teacher",
    "cannot_load",
    "load_teacher",
    "pick_device",
    "quiet",
    "teacher_bytes",
    "teacher_name",
    "use_bfloat16",
    "without_float16",
]

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Teacher:
    """A loaded teacher.

    Attributes:
        name: its Hugging Face id or the name of its folder.
        model: the transformer, on its device, in evaluation mode.
        tokenizer: its fast tokenizer.
        bfloat16: whether matrix products use bfloat16; everything else is float32.
    """

    name: str
    model: Any
    tokenizer: Any
    bfloat16: bool


def teacher_name(teacher: str | os.PathLike[str]) -> str:
    """Return a teacher's recorded name: its Hugging Face id or its folder's name, never a path."""
    folder = Path(teacher).expanduser()
    return folder.resolve().name if folder.is_dir() else str(teacher)


def teacher_bytes(teacher: str | os.PathLike[str], revision: str | None = None) -> int | None:
    """Return the size of a teacher's weights on disk in bytes, or None if unknown."""
    folder = Path(teacher).expanduser()
    try:
        if not folder.is_dir():
            folder = Path(snapshot_download(str(teacher), revision=revision, local_files_only=True))
    except (OSError, ValueError):
        return None
    for kind in ("*.safetensors", "*.bin", "*_Transformer/*.safetensors", "*_Transformer/*.bin"):
        if sizes := [file.stat().st_size for file in folder.glob(kind)]:
            return sum(sizes)
    return None


def load_teacher(
    teacher: str | os.PathLike[str],
    *,
    device: str = "auto",
    precision: Precision = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Teacher:
    """Load a teacher for token vectors; see `distill.distill` for the parameters.

    Raises:
        ConfigurationError: the device is not available, or the teacher is missing, cannot be loaded, or has
            no fast tokenizer.
    """
    picked = pick_device(device)
    folder = Path(teacher).expanduser()
    source = str(folder) if folder.is_dir() else str(teacher)
    if not folder.is_dir() and not _HUB_ID.fullmatch(source):
        raise ConfigurationError(
            f"there is no teacher at {source}: give a folder with a model, or a Hugging Face id"
        )
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if revision is not None:
        options["revision"] = revision
    try:
        with quiet():
            options["subfolder"] = _transformer_folder(source, revision)
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, use_fast=True, **options)
            model = transformers.AutoModel.from_pretrained(source, dtype="auto", **options)
    except ConfigurationError:
        raise
    except Exception as error:  # from four libraries, some of which raise bare Exception
        raise ConfigurationError(cannot_load(str(teacher), error)) from error
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigurationError(f"the teacher {teacher} has no fast tokenizer: add its tokenizer.json")
    if model.config.is_encoder_decoder or (hasattr(model, "encoder") and hasattr(model, "decoder")):
        model = model.get_encoder()  # the configuration of an encoder alone may name the whole model's class
    bfloat16 = use_bfloat16(precision, picked)
    model = without_float16(model) if bfloat16 else model.float()
    if bfloat16:
        model.set_attn_implementation("eager")  # much faster than fused attention for three tokens
        for layer in model.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.to(torch.bfloat16)  # once, where autocast would cast for each batch
    return Teacher(teacher_name(teacher), model.to(picked).eval(), tokenizer, bfloat16)


def _transformer_folder(source: str, revision: str | None) -> str:
    """The folder of the transformer in a sentence transformer's, such as `0_Transformer`; empty for its root.

    Raises:
        ConfigurationError: the sentence transformer does not begin with a transformer.
    """
    listed = cached_file(
        source,
        "modules.json",
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    if listed is None:
        return ""
    first = min(json.loads(Path(listed).read_text(encoding="utf-8")), key=lambda module: module["idx"])
    kind = str(first["type"])
    if kind.startswith("sentence_transformers.") and not kind.endswith(".Transformer"):
        raise ConfigurationError(
            f"the teacher {source} begins with a module of type {kind}, which has no hidden states: take a "
            "teacher whose first module is a Transformer"
        )
    return str(first.get("path", "")).removeprefix(".")


def without_float16(model: Any) -> Any:
    """Convert a float16 model to float32, since autocast to bfloat16 cannot mix the two."""
    halves = any(parameter.dtype == torch.float16 for parameter in model.parameters())
    return model.float() if halves else model


def pick_device(device: str) -> torch.device:
    """Return the torch device of a name; `auto` is CUDA if there is a GPU, otherwise the CPU.

    Raises:
        ConfigurationError: the device is not available.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # with an old driver there is no GPU, which is not an error
        if device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            picked = torch.device(device)
            torch.empty(1, device=picked)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ConfigurationError(
                f"`device` is {device!r}, which is not available here: use auto, cpu, cuda or mps"
            ) from error
        return picked


def use_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether to compute in bfloat16; `auto` does if the device has instructions for it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    cpu = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(cpu.get("avx512_bf16") or cpu.get("amx_bf16"))


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the libraries' progress bars, reports and warnings, but not their errors."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def cannot_load(teacher: str, error: Exception) -> str:
    """Explain in one line why a teacher cannot be loaded."""
    text = str(error)
    if "trust_remote_code" in text:
        return f"the teacher {teacher} runs code of its own: set `trust_remote_code` if you trust it"
    folder = Path(teacher)
    if folder.is_dir() and not any((folder / name).is_file() for name in ("config.json", "modules.json")):
        return (
            f"cannot load the teacher {teacher}: the folder has no config.json. Give the folder of a "
            "sentence transformer, or a Hugging Face id"
        )
    reason = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
    return (
        f"cannot load the teacher {teacher}: {reason.rstrip('.')}. Give a local folder, or a Hugging Face id "
        f"and a network connection{offline}"
    )
