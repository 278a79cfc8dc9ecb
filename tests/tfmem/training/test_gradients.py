"""Eqs. 3 and 4 of Liu, Lin & Jaggi (2021) against a twin that forms every gradient and pair."""

import numpy as np
import pytest
import tensorflow as tf

from tests import slow
from tests.networks import add_to_builders
from tfmem import models
from tfmem.models import initializers
from tfmem.training import gradients
from tfmem.training.gradients import Measurement, MiniBatch


def built(name, shape, options):
    model = models.build(name, shape, 3, **options)
    model.set_weights(initializers.initial_weights(model, 0, 0))
    for weight in model.trainable_weights:  # ResNets start with logits of 0: no gradient below.
        if not weight.numpy().any():
            weight.assign(np.random.default_rng(1).normal(0, 0.1, weight.shape))
    return model


def vectors(model, images, labels, smoothing=0.0):
    """Each example's gradient, one after the other: float64 [b, parameters]."""
    found = []
    for index in range(len(labels)):
        with tf.GradientTape() as tape:
            logits = model(images[index : index + 1], training=False)
            likelihood = tf.nn.log_softmax(logits)[0]
            true, mean = likelihood[labels[index]], tf.reduce_mean(likelihood)
            loss = -(1 - smoothing) * true - smoothing * mean
        parts = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
        found.append(np.concatenate([np.ravel(part) for part in parts]).astype(np.float64))
    return np.array(found)


def twin(batches, groups):
    """Both equations as they stand: batches of (gradients [b, parameters], groups [g, b])."""
    similarity, contribution = [], []
    for group in range(groups):
        chosen, projections = [], []
        for found, members in batches:
            mean = found.mean(axis=0)
            for vector in found[members[group]]:
                chosen.append(vector)
                projections.append(vector @ mean / np.linalg.norm(mean))
        cosines = [
            a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            for i, a in enumerate(chosen)
            for j, b in enumerate(chosen)
            if i != j
        ]
        similarity.append(np.mean(cosines))
        contribution.append(np.mean(projections))
    return similarity, contribution


CASES = {
    "dense": ("mlp", (4, 4, 1), {"hidden": [8, 6]}, True),
    "dense, smoothed": ("mlp", (4, 4, 1), {"hidden": [8, 6]}, True, 0.3),
    "formed, smoothed": ("mlp", (4, 4, 1), {"hidden": [8, 6]}, False, 0.3),
    "dense, formed": ("mlp", (4, 4, 1), {"hidden": [8, 6]}, False),
    "linear": ("linear", (4, 4, 1), {}, None),
    "batch norm": ("small_batch_norm", (4, 4, 1), {}, None),
    "attention": ("cct", (8, 8, 1), {}, None),
}


@pytest.mark.parametrize("case", slow.some(CASES, lambda case: case == "attention"))
def test_statistics_equal_their_twin(case, rng, monkeypatch):
    add_to_builders(monkeypatch)
    name, shape, options, dense, *smoothing = CASES[case]
    model = built(name, shape, options)
    batches, by_hand = [], []
    for size in (7, 4):
        images = tf.constant(rng.random((size, *shape)).astype(np.float32))
        labels = rng.integers(3, size=size)
        easy = np.arange(size) % 2 == 0
        members = np.stack([np.ones(size, bool), easy, ~easy])
        batches.append(MiniBatch(images, labels, members))
        by_hand.append((vectors(model, images, labels, *smoothing), members))
    # Chunks of three examples: of 7 the last has one, of 4 too.
    chunk_bytes = 4 * by_hand[0][0].shape[1] * 3
    found = Measurement(model, dense, chunk_bytes, *smoothing)(iter(batches), 3)
    similarity, contribution = twin(by_hand, 3)
    np.testing.assert_allclose(found.similarity, similarity, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.contribution, contribution, rtol=1e-3, atol=1e-5)
    assert found.gradients.tolist() == [11, 6, 5]


@pytest.mark.parametrize("dense", [True, False])
def test_by_hand_on_a_network_of_one_layer(dense):
    """With logits 0, the gradient of example i is x_i (p - y_i), p - y_i being ±(1/2, -1/2).

    Inputs are (3, 4), (4, -3) and (3, 4), and 1 of the bias: cosines are (x_i . x_j + 1) / 26 for
    equal labels, and minus that for different ones.
    """
    model = models.build("linear", (2,), 2)
    model.set_weights([np.zeros((2, 2)), np.zeros(2)])
    images = tf.constant([[3.0, 4], [4, -3], [3, 4]])
    batch = MiniBatch(
        images, np.array([1, 1, 0]), np.array([[1, 1, 1], [1, 1, 0], [0, 0, 1]], bool)
    )
    found = Measurement(model, dense)([batch], 3)
    # Pairs: 0 and 1 (1 / 26), 0 and 2 (-26 / 26), 1 and 2 (-1 / 26).
    assert found.similarity[:2].tolist() == pytest.approx([-26 / 26 / 3, 1 / 26])
    assert np.isnan(found.similarity[2])
    # v_i = s_i (x_i, 1) (1/2, -1/2) with s = 1, 1, -1: g = (4, -3, 1) (1/2, -1/2) / 3. With the
    # two columns, v_i . g = s_i ((x_i, 1) . (4, -3, 1)) / 6 and |g| = sqrt(26 / 2) / 3.
    length = np.sqrt(13) / 3
    by_hand = np.array([1, 26, -1]) / 6 / length
    expected = [by_hand.mean(), by_hand[:2].mean(), by_hand[2]]
    assert found.contribution.tolist() == pytest.approx(expected, rel=1e-5)
    assert found.gradients.tolist() == [3, 2, 1]


@pytest.mark.parametrize("dense", [True, False])
def test_a_gradient_of_zero_has_no_direction(dense):
    """It counts in the contribution, which it makes smaller, and not in the similarity."""
    model = models.build("linear", (2,), 2)
    model.set_weights([np.array([[1000.0, 0], [0, 0]]), np.zeros(2)])
    # The first is certain and right: softmax is exactly (1, 0). The others have logits 0.
    images = tf.constant([[1.0, 0], [0, 1], [0, 1]])
    batch = MiniBatch(images, np.array([0, 1, 1]), np.ones((1, 3), bool))
    found = Measurement(model, dense)([batch], 1)
    assert found.similarity.tolist() == pytest.approx([1])
    # The two others are equal, v, and g = 2 v / 3: their projection is |v| = 1.
    assert found.contribution.tolist() == pytest.approx([2 / 3])
    assert found.gradients.tolist() == [3]


def test_a_group_that_is_not_seen_is_unknown():
    model = models.build("linear", (2,), 2)
    images = tf.constant([[1.0, 0], [0, 1]])
    batch = MiniBatch(images, np.array([0, 1]), np.zeros((1, 2), bool))
    found = Measurement(model)([batch], 1)
    assert np.isnan([found.similarity[0], found.contribution[0]]).all()
    assert found.gradients.tolist() == [0]


def test_only_dense_networks_can_be_asked_for_the_dense_way():
    model = models.build("inception", (4, 4, 1), 3)
    with pytest.raises(ValueError, match="inception is not a dense ReLU network"):
        gradients.Measurement(model, dense=True)
