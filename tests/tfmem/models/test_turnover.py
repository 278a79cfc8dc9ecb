"""Turn-over dropout: masks, scaling, sub-networks, eqs. 5 and 6 of Liu, Lin & Jaggi (2021)."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmem import models
from tfmem.models import initializers, turnover
from tfmem.models.turnover import FULL, MUTED, UNMUTED, MaskKey, TurnoverDropout
from tfmem.store import artifacts
from tfmem.training.turnover import influence, losses

WORD = 2**32


def words(*values):
    return tf.constant(np.array(values, np.uint32).view(np.int32))


def threefry_by_hand(key, counter):
    """Threefry-2x32-20 on Python's integers."""
    keys = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    x0, x1 = ((word + k) % WORD for word, k in zip(counter, keys, strict=False))
    for round_number in range(20):
        rotation = (13, 15, 26, 6, 17, 29, 16, 24)[round_number % 8]
        x0 = (x0 + x1) % WORD
        x1 = ((x1 << rotation | x1 >> (32 - rotation)) % WORD) ^ x0
        if round_number % 4 == 3:
            injection = round_number // 4 + 1
            x0 = (x0 + keys[injection % 3]) % WORD
            x1 = (x1 + keys[(injection + 1) % 3] + injection) % WORD
    return x0, x1


def mask_by_hand(key, example, units):
    """Groups of 16, each the (word mod 12,870)-th way to choose 8, in lexicographic order."""
    groups = -(-units // 16)
    pairs = -(-groups // 2)
    encrypted = [threefry_by_hand(key, (int(example), pair)) for pair in range(pairs)]
    drawn = [first for first, _ in encrypted] + [second for _, second in encrypted]
    mask = []
    for group in range(groups):
        size = min(16, units - 16 * group)
        rank = drawn[group] % 2**31 % math.comb(size, size // 2)
        mask += way_by_hand(size, size // 2, rank)
    return mask


def way_by_hand(size, chosen, rank):
    """The rank-th of all sets of `chosen` of `size`: those with the first element come first."""
    if not size:
        return []
    with_first = math.comb(size - 1, chosen - 1) if chosen else 0
    if rank < with_first:
        return [1, *way_by_hand(size - 1, chosen - 1, rank)]
    return [0, *way_by_hand(size - 1, chosen, rank - with_first)]


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((WORD - 1,) * 2, (WORD - 1,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_published_answers(key, counter, expected):
    """Known answers of Random123, by the authors of Threefry (Salmon et al., 2011)."""
    found = turnover.threefry(words(*key), words(counter[0]), words(counter[1]))
    assert tuple(int(word.numpy().view(np.uint32)[0]) for word in found) == expected
    assert threefry_by_hand(key, counter) == expected


@pytest.mark.parametrize("units", [2, 10, 16, 20, 32, 48, 100])
def test_masks_equal_their_twin_by_hand(units):
    key, ids = (0xDEADBEEF, 7), [0, 1, 59_999, 1_281_166, 2**31 - 1]
    found = turnover.masks(words(*key), tf.constant(ids, tf.int32), units)
    assert found.dtype == tf.float32
    expected = [mask_by_hand(key, example, units) for example in ids]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("first", [0, 1_000_000, 2**31 - 20_000])
def test_masks_are_balanced(first):
    """Half of each, each unit on for half of the examples, pairs as a random half has them."""
    count, units = 20_000, 48
    ids = tf.constant(np.arange(first, first + count), tf.int32)
    found = turnover.masks(words(3, 9), ids, units).numpy()
    assert set(np.unique(found)) == {0, 1}
    assert (found.sum(axis=1) == units / 2).all()
    error = 0.5 / math.sqrt(count)
    assert np.abs(found.mean(axis=0) - 0.5).max() < 5 * error
    together = found.T @ found / count
    for one in range(units):
        for other in range(one):
            # Of 16 units 8 are on: 1/2 * 7/15. Different groups are independent.
            expected = 7 / 30 if one // 16 == other // 16 else 1 / 4
            assert abs(together[one, other] - expected) < 5 * error


@pytest.mark.slow
def test_no_two_of_60_000_examples_share_a_mask_in_the_papers_model():
    model = models.build("mlp", (28, 28, 1), 10, hidden=[4096], turnover=True)
    model.set_weights(initializers.initial_weights(model, 0, 0))
    turnover.require_distinct_masks(model, 60_000)
    packed = turnover.packed_masks(model, np.arange(60_000))
    assert packed.shape == (60_000, 4096 / 8)
    assert len(np.unique(packed[:, :16], axis=0)) == 60_000
    # And none is another's complement, whose muted half would be its unmuted one.
    assert len(np.unique(np.concatenate([packed, ~packed])[:, :16], axis=0)) == 120_000


def test_too_few_units_for_the_examples_are_refused():
    """With 8 units there are 70 masks."""
    model = models.build("mlp", (4, 4, 1), 3, hidden=[8], turnover=True)
    model.set_weights(initializers.initial_weights(model, 0, 0))
    message = "have the same mask: 8 units with turn-over dropout are too few for 71 examples"
    with pytest.raises(ValueError, match=message) as caught:
        turnover.require_distinct_masks(model, 71)
    first, second = (int(word) for word in str(caught.value).split()[1:4:2])
    packed = turnover.packed_masks(model, [first, second])
    np.testing.assert_array_equal(packed[0], packed[1])


def layer_with_key(units, key=(5, 6)):
    layer = TurnoverDropout()
    layer.build([(None, units), (None,), (None,)])
    layer.key.assign(np.array(key, np.int32))
    return layer


def test_what_is_let_through_is_doubled():
    layer = layer_with_key(4)
    x = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    ids = np.array([3, 4], np.int32)
    mask = np.array([mask_by_hand((5, 6), example, 4) for example in ids])
    for mode, factor in ((UNMUTED, 2 * mask), (MUTED, 2 * (1 - mask)), (FULL, np.ones((2, 4)))):
        modes = np.full(2, turnover.MODES[mode], np.float32)
        found = layer([tf.constant(x), tf.constant(ids), tf.constant(modes)])
        np.testing.assert_array_equal(found, x * factor)
    # Each example has a mode of its own, and the mean of both halves is the whole.
    mixed = layer([tf.constant(x), tf.constant(ids), tf.constant([1.0, -1.0])])
    np.testing.assert_array_equal(mixed, x * np.stack([2 * mask[0], 2 * (1 - mask[1])]))


def test_feature_maps_are_dropped_whole():
    layer = layer_with_key(6)
    x = np.arange(2 * 3 * 3 * 6, dtype=np.float32).reshape(2, 3, 3, 6) + 1
    ids = np.array([10, 11], np.int32)
    found = layer([tf.constant(x), tf.constant(ids), tf.ones(2)])
    for row, example in enumerate(ids):
        mask = np.array(mask_by_hand((5, 6), example, 6))
        np.testing.assert_array_equal(found[row], x[row] * 2 * mask)
    assert found.shape == x.shape


def test_the_expected_activation_is_unchanged():
    layer = layer_with_key(32)
    x = np.ones((20_000, 32), np.float32)
    ids = tf.range(20_000)
    for mode in (1.0, -1.0):
        mean = layer([tf.constant(x), ids, tf.fill([20_000], mode)]).numpy().mean(axis=0)
        assert np.abs(mean - 1).max() < 5 / math.sqrt(20_000)


@pytest.fixture(scope="module")
def small():
    """Two hidden layers, and the same network without turn-over dropout."""
    model = models.build("mlp", (4, 4, 1), 3, hidden=[32, 16], turnover=True)
    model.set_weights(initializers.initial_weights(model, 1, 2))
    plain = models.build("mlp", (4, 4, 1), 3, hidden=[32, 16])
    plain.set_weights([weight for weight in model.get_weights() if weight.dtype != np.int32])
    return model, plain


def forward_by_hand(weights, keys, images, example, mode):
    """The small network in NumPy, with the sub-network of one example."""
    x = images.reshape(len(images), -1)
    for layer in range(3):
        x = x @ weights[2 * layer] + weights[2 * layer + 1]
        if layer < 2:
            mask = np.array(mask_by_hand(keys[layer], example, x.shape[1]))
            x = np.maximum(x, 0) * {UNMUTED: 2 * mask, MUTED: 2 - 2 * mask, FULL: 1}[mode]
    return x


def small_weights(model):
    weights = [weight for weight in model.get_weights() if weight.dtype != np.int32]
    keys = [layer.key.numpy().view(np.uint32).tolist() for layer in turnover.layers(model)]
    return weights, keys


@pytest.mark.parametrize("mode", turnover.MODES)
def test_a_sub_network_equals_its_twin_by_hand(small, mode, rng):
    model, plain = small
    images = rng.random((5, 4, 4, 1)).astype(np.float32)
    found = turnover.apply(model, images, np.full(5, 77, np.int32), mode)
    expected = forward_by_hand(*small_weights(model), images, 77, mode)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    if mode == FULL:
        np.testing.assert_array_equal(found, plain(images))


def test_layers_have_masks_of_their_own(small):
    model, _ = small
    keys = small_weights(model)[1]
    assert keys[0] != keys[1]
    other = initializers.initial_weights(model, 1, 3)
    assert not np.array_equal(other[2], model.get_weights()[2])


def test_only_the_unmuted_half_is_updated(small, rng):
    """A step on one example leaves every weight of the units that are off what it is."""
    model, _ = small
    images, example = rng.random((1, 4, 4, 1)).astype(np.float32), 5
    with tf.GradientTape() as tape:
        logits = turnover.apply(model, images, np.array([example], np.int32), UNMUTED)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits([1], logits)
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    keys = small_weights(model)[1]
    drawn = [mask_by_hand(key, example, units) for key, units in zip(keys, (32, 16), strict=True)]
    off = [np.array(mask) == 0 for mask in drawn]
    first, first_bias, second, second_bias, last, _ = (gradient.numpy() for gradient in gradients)
    assert not first[:, off[0]].any()
    assert not first_bias[off[0]].any()
    assert not second[off[0]].any()
    assert not second[:, off[1]].any()
    assert not second_bias[off[1]].any()
    assert not last[off[1]].any()
    assert first[:, ~off[0]].any()
    assert last[~off[1]].any()


def test_influence_by_hand(small, rng):
    """Eq. 5: the loss of the muted minus that of the unmuted sub-network, of each pair."""
    model, _ = small
    images, labels = rng.random((5, 4, 4, 1)).astype(np.float32), np.array([0, 1, 2, 0, 1])
    found = influence(model, [7, 9], images, labels, batch_size=2)
    weights, keys = small_weights(model)

    def loss(example, mode):
        logits = forward_by_hand(weights, keys, images, example, mode)
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return -np.log(probabilities[np.arange(5), labels])

    expected = [loss(example, MUTED) - loss(example, UNMUTED) for example in (7, 9)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_losses_in_closed_form():
    logits = np.array([[0, 0], [math.log(3), 0], [1000, 0], [0, 1000]], np.float32)
    found = losses(logits, np.array([0, 0, 0, 0]))
    assert found.tolist() == pytest.approx([math.log(2), math.log(4 / 3), 0, 1000])
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "shape", "options", "units"),
    [
        ("mlp", (28, 28, 1), {"hidden": [4096]}, [4096]),
        pytest.param(
            "vgg11",
            (32, 32, 3),
            {},
            [64, 128, 256, 256, 512, 512, 512, 512, 512, 512],
            marks=pytest.mark.slow,
        ),
        ("cct", (28, 28, 1), {}, [64, *[128] * 9]),
    ],
)
def test_every_hidden_layer_is_followed_by_it(name, shape, options, units, tmp_path):
    """In every family, saved or not; in mode `full` it is the network without turn-over dropout."""
    model = models.build(name, shape, 10, turnover=True, **options)
    assert [layer.units for layer in turnover.layers(model)] == units
    model.set_weights(initializers.initial_weights(model, 0, 0))
    plain = models.build(name, shape, 10, **options)
    plain.set_weights([weight for weight in model.get_weights() if weight.dtype != np.int32])
    images, ids = np.random.default_rng(0).random((3, *shape)).astype(np.float32), np.arange(3)
    np.testing.assert_allclose(
        turnover.apply(model, images, ids, FULL), plain(images), rtol=1e-5, atol=1e-5
    )
    artifacts.save(model, tmp_path / "network.keras")
    again = artifacts.load(tmp_path / "network.keras")
    for mode in (UNMUTED, MUTED):
        np.testing.assert_array_equal(
            turnover.apply(again, images, ids, mode), turnover.apply(model, images, ids, mode)
        )


def test_an_example_does_not_see_its_neighbours(small, rng):
    """Nor do its mask and its prediction depend on the place in the batch."""
    model, _ = small
    images, ids = rng.random((6, 4, 4, 1)).astype(np.float32), np.arange(6)
    together = turnover.apply(model, images, ids, UNMUTED).numpy()
    turned = turnover.apply(model, images[::-1], ids[::-1], UNMUTED).numpy()[::-1]
    np.testing.assert_allclose(together, turned, rtol=1e-5)
    alone = turnover.apply(model, images[2:3], ids[2:3], UNMUTED, training=True)
    np.testing.assert_allclose(together[2:3], alone, rtol=1e-5)


def test_keys_come_from_their_seed():
    first, second = (MaskKey(seed)((2,)).numpy() for seed in (4, 5))
    np.testing.assert_array_equal(MaskKey(4)((2,)), first)
    assert (first != second).any()
    keras.utils.set_random_seed(3)
    drawn = MaskKey().seed
    keras.utils.set_random_seed(3)
    assert MaskKey().seed == drawn


def test_what_is_out_of_range_is_refused(small):
    model, plain = small
    for ids in ([-1], [0, 2**31]):
        with pytest.raises(ValueError, match="is out of range, expected 0 to 2,147,483,647"):
            turnover.packed_masks(model, ids)
    with pytest.raises(ValueError, match="example id 60 is out of range, expected 0 to 59"):
        influence(model, [60], np.zeros((1, 4, 4, 1)), [0], num_examples=60)
    with pytest.raises(ValueError, match="mlp has no turn-over dropout: build it with"):
        influence(plain, [0], np.zeros((1, 4, 4, 1)), [0])
    with pytest.raises(ValueError, match="unknown mode 'mute': did you mean 'muted'"):
        turnover.apply(model, np.zeros((1, 4, 4, 1)), [0], "mute")
