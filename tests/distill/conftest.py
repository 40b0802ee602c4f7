"""Small teachers with random weights, one of each kind of tokenizer, built once a run; and reports."""

import os
import string
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the Hub; it is read when transformers is imported

import torch
import transformers
from distill_report import make_report, make_word_report

TEXT = (
    "card payment refused at the terminal after three wrong pins the merchant in new york asked for another "
    "card log in failed from an unknown address server restarted by the watchdog because the disk was full"
)


def _save(folder, kind, tokenizer, **special):
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **special)
    fast.save_pretrained(folder)
    torch.manual_seed(7)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(fast),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=80,
        pad_token_id=fast.pad_token_id,
        initializer_range=0.5,
    )
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    return folder


def _brackets(tokenizer, first, last):
    ids = [(token, tokenizer.token_to_id(token)) for token in (first, last)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=ids)


@pytest.fixture(scope="session")
def wordpiece_teacher(tmp_path_factory) -> Path:
    """A BERT: [PAD], three unused entries, [UNK], [CLS], [SEP], [MASK], letters, letters inside, words."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    entries = ["[PAD]", "[unused0]", "[unused1]", "[unused2]", *special, *string.ascii_lowercase]
    entries += [f"##{letter}" for letter in string.ascii_lowercase] + sorted(set(TEXT.split()) - {"a"})
    vocabulary = {entry: i for i, entry in enumerate(entries)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", *special])
    _brackets(tokenizer, "[CLS]", "[SEP]")
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    folder = tmp_path_factory.mktemp("teachers") / "tiny-bert"
    _save(folder, "Bert", tokenizer, pad_token="[PAD]", **names)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: en\n---\n\n# A tiny teacher\n")
    return folder


@pytest.fixture(scope="session")
def bpe_teacher(tmp_path_factory) -> Path:
    """A RoBERTa with a byte-level BPE."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 20, trainer)
    tokenizer.add_special_tokens(["<mask>"])
    _brackets(tokenizer, "<s>", "</s>")
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
    folder = tmp_path_factory.mktemp("teachers") / "tiny-roberta"
    return _save(folder, "Roberta", tokenizer, pad_token="<pad>", **names)


@pytest.fixture(scope="session")
def unigram_teacher(tmp_path_factory) -> Path:
    """An XLM-RoBERTa with a Unigram vocabulary."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=90, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXT.split() * 20, trainer)
    tokenizer.add_special_tokens(["<mask>"])
    _brackets(tokenizer, "<s>", "</s>")
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
    folder = tmp_path_factory.mktemp("teachers") / "tiny-xlm-roberta"
    return _save(folder, "XLMRoberta", tokenizer, pad_token="<pad>", **names)


@pytest.fixture(params=["wordpiece", "bpe", "unigram"])
def teacher(request) -> Path:
    """Each kind of teacher in turn."""
    return request.getfixturevalue(f"{request.param}_teacher")


@pytest.fixture(scope="session")
def pages():
    """With texts, without, with texts that try to be markup, with groups, and without anything measured."""
    return {
        "shown": make_report(100),
        "anonymous": make_report(0),
        "hostile": make_report(100, hostile=True),
        "grouped": make_report(100, grouped=True, labels=False),
        "words": make_word_report(),
    }
