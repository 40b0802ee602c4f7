"""The teacher: a sentence transformer, loaded from a folder or from the Hugging Face Hub."""

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

from distill.parameters import Precision
from encoder.errors import ConfigurationError

__all__ = [
    "Teacher",
    "cannot_load",
    "in_bfloat16",
    "load_teacher",
    "pick_device",
    "quiet",
    "teacher_bytes",
    "teacher_name",
    "without_float16",
]

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Teacher:
    """A teacher that is ready to embed.

    Attributes:
        name: its Hugging Face id, or the name of its folder.
        model: the transformer, on its device, in evaluation mode.
        tokenizer: its fast tokenizer.
        bfloat16: whether its matrix products are computed in bfloat16; everything else is float32.
    """

    name: str
    model: Any
    tokenizer: Any
    bfloat16: bool


def teacher_name(teacher: str | os.PathLike[str]) -> str:
    """The name under which a teacher is recorded: its Hugging Face id or its folder's name, never a path."""
    folder = Path(teacher).expanduser()
    return folder.resolve().name if folder.is_dir() else str(teacher)


def teacher_bytes(teacher: str | os.PathLike[str], revision: str | None = None) -> int | None:
    """The size of a teacher's weights on this machine's disk in bytes, or None where it is not known."""
    folder = Path(teacher).expanduser()
    try:
        if not folder.is_dir():
            folder = Path(snapshot_download(str(teacher), revision=revision, local_files_only=True))
    except (OSError, ValueError):
        return None
    for kind in ("*.safetensors", "*.bin"):
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
    """Load a teacher; the parameters are those of `distill.distill`.

    Raises:
        ConfigurationError: the device is not there, or the teacher cannot be found, cannot be loaded, or has
            no fast tokenizer.
    """
    place = pick_device(device)
    folder = Path(teacher).expanduser()
    source = str(folder) if folder.is_dir() else str(teacher)
    if not folder.is_dir() and not _HUB_ID.fullmatch(source):
        raise ConfigurationError(f"no teacher in {source}: name a folder with a model, or a Hugging Face id")
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if revision is not None:
        options["revision"] = revision
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, use_fast=True, **options)
            model = transformers.AutoModel.from_pretrained(source, dtype="auto", **options)  # as it is stored
    except Exception as error:  # from four libraries, some of which raise bare Exception
        raise ConfigurationError(cannot_load(str(teacher), error)) from error
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigurationError(f"the teacher {teacher} has no fast tokenizer: it needs a tokenizer.json")
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    bfloat16 = in_bfloat16(precision, place)
    model = without_float16(model) if bfloat16 else model.float()
    if bfloat16:
        model.set_attn_implementation("eager")  # for three tokens much faster than the fused one, in bfloat16
        for layer in model.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.to(torch.bfloat16)  # once, instead of by autocast for each batch
    return Teacher(teacher_name(teacher), model.to(place).eval(), tokenizer, bfloat16)


def without_float16(model: Any) -> Any:
    """A model ready for bfloat16's autocast: stored in float16 it becomes float32, as the two do not mix."""
    halves = any(parameter.dtype == torch.float16 for parameter in model.parameters())
    return model.float() if halves else model


def pick_device(device: str) -> torch.device:
    """The torch device that a name means; `auto` is CUDA when there is a GPU, otherwise the CPU.

    Raises:
        ConfigurationError: there is no such device here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an old driver is no GPU, which is an answer and not a fault
        if device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            picked = torch.device(device)
            torch.empty(1, device=picked)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ConfigurationError(
                f"there is no device {device!r} here: use auto, cpu, cuda or mps"
            ) from error
        return picked


def in_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether to compute in bfloat16: when asked to, or by itself where the device is fast at it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' progress bars, reports and warnings off the terminal; errors pass."""
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
    text = str(error)
    if "trust_remote_code" in text:
        return f"the teacher {teacher} runs code of its own: --trust-remote-code allows it, if you trust it"
    reason = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
    return (
        f"cannot load the teacher {teacher}: {reason.rstrip('.')}. Name a local folder, or a Hugging Face id "
        f"with the network at hand{offline}"
    )
