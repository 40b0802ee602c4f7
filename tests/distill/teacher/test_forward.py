"""The forward pass over sequences of token ids."""

import numpy as np
import pytest
import torch

from distill.teacher.forward import embed_sequences
from distill.teacher.loading import load_teacher
from encoder.errors import ConfigurationError

SEQUENCES = [[5, 20, 6], [5, 21, 22, 6], [5, 23, 6], [5, 6]]


@pytest.mark.parametrize("pooling", ["mean", "first", "last", "pooler"])
def test_each_sequence_is_pooled_as_if_it_were_alone(wordpiece_teacher, pooling):
    teacher = load_teacher(wordpiece_teacher, precision="float32")
    vectors = embed_sequences(teacher, SEQUENCES, pooling=pooling)
    for vector, sequence in zip(vectors, SEQUENCES, strict=True):
        with torch.inference_mode():
            output = teacher.model(torch.tensor([sequence]))
        hidden = output.last_hidden_state[0]
        expected = {
            "mean": hidden.mean(dim=0),
            "first": hidden[0],
            "last": hidden[-1],
            "pooler": output.pooler_output[0],
        }
        np.testing.assert_allclose(vector, expected[pooling].numpy(), atol=1e-5)


def test_batches_keep_the_order(wordpiece_teacher):
    teacher = load_teacher(wordpiece_teacher, precision="float32")
    sequences = [[5, 8 + i % 60, 6] if i % 3 else [5, 6] for i in range(700)]
    vectors = embed_sequences(teacher, sequences)
    np.testing.assert_allclose(vectors[61:70], embed_sequences(teacher, sequences[61:70]), atol=1e-5)


def test_what_is_no_number_becomes_zero(wordpiece_teacher):
    teacher = load_teacher(wordpiece_teacher, precision="float32")
    teacher.model.get_input_embeddings().weight.data[20] = float("nan")
    vectors = embed_sequences(teacher, SEQUENCES)
    assert not vectors[0].any()
    assert vectors[1:].any(axis=1).all()


def test_a_teacher_without_a_number_is_refused(wordpiece_teacher):
    teacher = load_teacher(wordpiece_teacher, precision="float32")
    teacher.model.get_input_embeddings().weight.data[:] = float("nan")
    with pytest.raises(ConfigurationError, match="tiny-bert returns NaN for every token: set `precision`"):
        embed_sequences(teacher, SEQUENCES)


def test_an_id_without_an_embedding_is_refused(wordpiece_teacher):
    with pytest.raises(ConfigurationError, match="has the id 99999, but its model has only"):
        embed_sequences(load_teacher(wordpiece_teacher, precision="float32"), [[5, 99_999, 6]])


def test_a_teacher_without_pooler_is_refused(wordpiece_teacher):
    teacher = load_teacher(wordpiece_teacher, precision="float32")
    teacher.model.pooler = None
    with pytest.raises(ConfigurationError, match="tiny-bert has no pooler"):
        embed_sequences(teacher, SEQUENCES, pooling="pooler")
