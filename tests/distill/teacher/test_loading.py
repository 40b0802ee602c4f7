"""Loading teachers: what is found, what is refused, what is kept off the terminal."""

import json
import logging
import shutil
import warnings

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer

from distill.teacher.forward import embed_sequences
from distill.teacher.loading import load_teacher, pick_device, teacher_bytes, teacher_name
from encoder.errors import ConfigurationError

SEQUENCES = [[5, 9, 6], [5, 40, 41, 6], [5, 70, 6]]


def test_a_teacher_is_known_by_its_folder_name_or_its_id(wordpiece_teacher, monkeypatch):
    monkeypatch.chdir(wordpiece_teacher)
    assert teacher_name(".") == "tiny-bert"
    assert teacher_name("org/model") == "org/model"


def test_the_size_of_the_weights(wordpiece_teacher):
    assert teacher_bytes(wordpiece_teacher) == (wordpiece_teacher / "model.safetensors").stat().st_size
    assert teacher_bytes("no/such-teacher") is None


def sentence_transformer(transformer, folder, path, kind="Transformer"):
    """The folder of a sentence transformer whose transformer lies in a folder of its own."""
    shutil.copytree(transformer, folder / path, dirs_exist_ok=True)
    modules = [{"idx": 0, "name": "0", "path": path, "type": f"sentence_transformers.models.{kind}"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def hidden_means(folder, sequences):
    """What sentence-transformers' own transformer makes of the sequences."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SentenceTransformer(str(folder), device="cpu")[0].auto_model.eval()
    with torch.no_grad():
        rows = [model(input_ids=torch.tensor([ids])).last_hidden_state.mean(dim=1) for ids in sequences]
    return torch.cat(rows).numpy()


@pytest.mark.parametrize("path", ["", "0_Transformer"])
def test_a_transformer_in_a_folder_of_its_own_is_found(path, wordpiece_teacher, tmp_path):
    folder = sentence_transformer(wordpiece_teacher, tmp_path / "old", path)
    found = embed_sequences(load_teacher(folder, precision="float32"), SEQUENCES)
    expected = embed_sequences(load_teacher(wordpiece_teacher, precision="float32"), SEQUENCES)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found, hidden_means(folder, SEQUENCES), atol=1e-5)
    assert teacher_bytes(folder) == teacher_bytes(wordpiece_teacher)


@pytest.mark.parametrize("encoder_decoder", [False, True])
def test_the_encoder_of_a_t5_is_found_whatever_its_configuration_says(
    encoder_decoder, wordpiece_teacher, tmp_path
):
    folder = sentence_transformer(wordpiece_teacher, tmp_path / "t5", "0_Transformer")
    config = transformers.T5Config(
        vocab_size=200,
        d_model=16,
        d_kv=4,
        d_ff=24,
        num_layers=2,
        num_heads=4,
        is_encoder_decoder=encoder_decoder,
        use_cache=False,
    )
    transformers.T5EncoderModel(config).save_pretrained(folder / "0_Transformer")
    saved = folder / "0_Transformer/config.json"
    saved.write_text(json.dumps(json.loads(saved.read_text()) | {"is_encoder_decoder": encoder_decoder}))
    found = embed_sequences(load_teacher(folder, precision="float32"), SEQUENCES)
    np.testing.assert_allclose(found, hidden_means(folder, SEQUENCES), atol=1e-5)


@pytest.mark.parametrize("kind", ["WordEmbeddings", "BoW", "StaticEmbedding"])
def test_a_sentence_transformer_without_a_transformer_is_refused_by_its_module(
    kind, wordpiece_teacher, tmp_path
):
    folder = sentence_transformer(wordpiece_teacher, tmp_path / "words", "0_Words", kind)
    with pytest.raises(
        ConfigurationError, match=f"begins with a module of type sentence_transformers.models.{kind}"
    ):
        load_teacher(folder)


@pytest.mark.parametrize("missing", ["./not/here", "/not/here/either", "a b", "one/two/three"])
def test_a_path_without_a_folder_is_refused(missing):
    with pytest.raises(ConfigurationError, match="give a folder with a model, or a Hugging Face id"):
        load_teacher(missing)


def test_an_unknown_id_is_refused_in_one_line_that_names_it():
    with pytest.raises(ConfigurationError, match="cannot load the teacher no/such-teacher: ") as caught:
        load_teacher("no/such-teacher")
    assert "\n" not in str(caught.value)
    assert "HF_HUB_OFFLINE is set" in str(caught.value)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"the folder has no config\.json") as caught:
        load_teacher(tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_refused(wordpiece_teacher, tmp_path):
    folder = shutil.copytree(wordpiece_teacher, tmp_path / "damaged")
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ConfigurationError, match="cannot load the teacher"):
        load_teacher(folder)


def test_code_that_comes_with_a_teacher_is_not_run_unasked(wordpiece_teacher, tmp_path):
    folder = shutil.copytree(wordpiece_teacher, tmp_path / "theirs")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(ConfigurationError, match="set `trust_remote_code`"):
        load_teacher(folder)


def test_loading_prints_nothing_and_leaves_the_loggers_as_they_were(wordpiece_teacher, capfd):
    level = transformers.utils.logging.get_verbosity()
    load_teacher(wordpiece_teacher)
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.get_verbosity() == level
    assert logging.getLogger("skeletoken").level == logging.NOTSET


@pytest.mark.parametrize(
    ("stored", "precision", "fast", "in_bfloat16"),
    [
        (torch.float32, "auto", True, True),
        (torch.float32, "auto", False, False),
        (torch.bfloat16, "auto", True, True),
        (torch.bfloat16, "auto", False, False),
        (torch.bfloat16, "float32", True, False),
        (torch.float32, "bfloat16", False, True),
        (torch.float16, "bfloat16", False, True),
        (torch.float16, "float32", True, False),
    ],
)
def test_precision(wordpiece_teacher, tmp_path, monkeypatch, stored, precision, fast, in_bfloat16):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": fast})
    folder = shutil.copytree(wordpiece_teacher, tmp_path / "teacher")
    transformers.AutoModel.from_pretrained(folder).to(stored).save_pretrained(folder)
    teacher = load_teacher(folder, device="cpu", precision=precision)
    assert teacher.bfloat16 is in_bfloat16
    assert in_bfloat16 or teacher.model.dtype == torch.float32
    assert np.isfinite(embed_sequences(teacher, [[5, 20, 6]])).all()


def test_devices():
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda")
    for missing in ("warp", "cuda:99", "mps"):
        with pytest.raises(ConfigurationError, match=f"`device` is '{missing}', which is not available"):
            pick_device(missing)
