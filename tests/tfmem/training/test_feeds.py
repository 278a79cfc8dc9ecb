"""What the training and evaluation steps are fed: augmented, streamed, spread over replicas."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.twins import numpy_sgd
from tfmem import datasets, seeds
from tfmem.training import augmentation, batches, feeds, fit
from tfmem.training.problem import Problem

_SIDE = 4
_MARGIN = 16  # The central 4 of 36 pixels are what is seen of an image at size 4.


class Stream:
    """Images in PNG, of which only the centre is seen; shuffled by NumPy."""

    image_shape = (_SIDE, _SIDE, 3)
    identity = "test"

    def __init__(self, images):
        margins = ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0))
        self._encoded = {
            split: [
                tf.io.encode_png(image).numpy()
                for image in np.pad(values, margins, constant_values=99)
            ]
            for split, values in images.items()
        }

    @staticmethod
    def order(seed, keep):
        kept = np.flatnonzero(keep)
        return kept if seed is None else np.random.default_rng(seed).permutation(kept)

    def read(self, split, seed=None, keep=None):
        encoded = self._encoded[split]
        keep = np.ones(len(encoded), bool) if keep is None else keep
        order = self.order(seed, keep)
        return tf.data.Dataset.from_tensor_slices((order, [encoded[index] for index in order]))


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(3)
    return {
        split: rng.integers(0, 256, (count, _SIDE, _SIDE, 3), dtype=np.uint8)
        for split, count in (("train", 21), ("test", 9))
    }


@pytest.fixture(scope="module")
def in_memory(images):
    train, test = (
        datasets.ArraySplit(
            np.arange(len(values)) % 3, datasets.numbered_ids(split, len(values)), values
        )
        for split, values in images.items()
    )
    return datasets.ArrayDataset("tiny", train, test, ("a", "b", "c"), pixel_max=255)


@pytest.fixture(scope="module")
def streamed(images, in_memory):
    train, test = (datasets.Split(s.labels, s.ids) for s in (in_memory.train, in_memory.test))
    names, stream = in_memory.class_names, Stream(images)
    return datasets.StreamedDataset("tiny", train, test, names, pixel_max=255, stream=stream)


AUGMENTED = dict(crop="padded", crop_padding=1, flip=True)


def stream_order(problem, trial, epoch):
    config = problem.config
    seed = seeds.integers(config.seed, trial, "batch_order", count=2, epoch=epoch)[0]
    return Stream.order(seed, problem.subset(trial))


def augmented(problem, trial, epoch):
    """Every training image of the epoch, cropped and flipped one by one."""
    config = problem.config
    draws = augmentation.draw(config, len(problem.dataset.train), trial, epoch)

    def view(example):
        image = problem.dataset.train.images[example]
        row, column, flip = draws[example]
        crop = np.pad(image, ((1, 1), (1, 1), (0, 0)))[row : row + _SIDE, column : column + _SIDE]
        return crop[:, ::-1] if flip else crop

    return view


@pytest.mark.parametrize("source", ["in_memory", "streamed"])
@pytest.mark.parametrize("changes", [{}, AUGMENTED])
def test_two_epochs_equal_the_slow_twin(source, changes, tiny_config, request):
    """Weights after all steps: 15 of 21 examples in batches of 4, so a short batch each epoch."""
    dataset = request.getfixturevalue(source)
    config = dataclasses.replace(tiny_config, epochs=2, **changes)
    problem = Problem(config, dataset)
    twin = Problem(config, request.getfixturevalue("in_memory"))
    order = stream_order if source == "streamed" else None
    expected = numpy_sgd(twin, 2, steps=8, order=order, view=augmented if changes else None)
    trainer = fit.FitTrainer(problem, fit.build_strategy("default"))
    trial = next(iter(trainer.train([2])))
    for ours, slow in zip(trainer.network.get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, slow, atol=2e-6)
    # Evaluation sees every example in index order, as it is.
    for split, found in ((twin.dataset.train, trial.train), (twin.dataset.test, trial.test)):
        logits = trainer.network(split.images.astype(np.float32) / 255).numpy()
        predicted, probability = batches.evaluate(logits, split.labels)
        np.testing.assert_array_equal(found.predicted, predicted)
        np.testing.assert_allclose(found.label_probability, probability, atol=1e-3)


def test_a_streams_epochs_follow_seed_trial_and_epoch(streamed, tiny_config):
    problem = Problem(dataclasses.replace(tiny_config, **AUGMENTED), streamed)
    feed = feeds.build(problem, fit.build_strategy("default"))

    def seen(trial, start):
        """Yields what the network takes in each epoch."""
        for epoch in range(start, problem.config.epochs):
            parts = feed.epoch(trial, problem.subset(trial), epoch)
            yield np.concatenate([feed.inputs(batch).numpy() for batch, _, _ in parts])

    first, again, later = list(seen(4, 0)), list(seen(4, 0)), next(seen(4, 1))
    assert [len(epoch) for epoch in first] == [15, 15, 15]
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(later, first[1])
    assert np.abs(first[0] - first[1]).max() > 0.1
    assert np.abs(first[0] - next(seen(5, 0))).max() > 0.1


def test_random_area_and_aspect_train(streamed, tiny_config):
    """Other pixels than the central view, the same ones every time."""
    config = dataclasses.replace(tiny_config, crop="area_aspect", epochs=1)
    feed = feeds.build(Problem(config, streamed), fit.build_strategy("default"))
    subset = np.ones(21, bool)

    def pixels():
        parts = feed.epoch(0, subset, 0)
        return np.concatenate([feed.inputs(batch).numpy() for batch, _, _ in parts])

    found = pixels()
    assert found.shape == (21, _SIDE, _SIDE, 3)
    np.testing.assert_array_equal(found, pixels())
    assert len(np.unique(found.reshape(21, -1), axis=0)) > 10


class EightReplicas:
    """As far as a stream is asked for batches: all of them at once."""

    num_replicas_in_sync = 8

    @staticmethod
    def experimental_distribute_dataset(dataset):
        return dataset


@pytest.mark.parametrize("at_once", [1, 2, 5, 100])
def test_evaluation_batches_are_full_on_every_replica(streamed, in_memory, tiny_config, at_once):
    for feed in (
        feeds.StreamFeed(Problem(tiny_config, streamed), streamed, EightReplicas()),
        feeds.ArrayFeed(Problem(tiny_config, in_memory), in_memory, tf.distribute.get_strategy()),
    ):
        replicas = 8 if isinstance(feed, feeds.StreamFeed) else 1
        for split, count in (("train", 21), ("test", 9)):
            parts = [
                feed.inputs(feed.view(given)).numpy() for given in feed.evaluation(split, at_once)
            ]
            sizes = [len(part) for part in parts]
            assert len(set(sizes)) == 1
            assert sizes[0] <= at_once * replicas
            assert count <= sum(sizes) < count + sizes[0]
            assert sizes[0] % replicas == 0
            images = getattr(in_memory, split).images / np.float32(255)
            padded = images[np.minimum(np.arange(sum(sizes)), count - 1)]
            np.testing.assert_array_equal(np.concatenate(parts), padded)


def test_a_network_evaluates_as_many_as_memory_bears():
    """Its widest layer takes and returns 4 x 4 x 12 + 4 x 4 x 12 floats."""
    widest = 4 * 2 * 4 * 4 * 12

    def at_once(bytes_):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(feeds, "_EVALUATION_BYTES", bytes_)
            return feeds.evaluated_at_once(narrow)

    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(12, 3, padding="same")(inputs)
    x = keras.layers.Flatten()(keras.layers.ReLU()(x))
    narrow = keras.Model(inputs, keras.layers.Dense(10)(x))
    assert at_once(100 * widest) == 100
    assert at_once(101 * widest - 1) == 100
    assert at_once(widest - 1) == 1
    assert feeds.evaluated_at_once(narrow) == feeds._LARGEST_EVALUATION_BATCH


def test_representations_are_fed_as_they_are(tiny_config, rng):
    values = rng.normal(size=(30, 6)).astype(np.float32)
    labels = np.arange(30) % 3
    train, test = (
        datasets.ArraySplit(
            labels[part], datasets.numbered_ids(name, len(labels[part])), values[part]
        )
        for name, part in (("train", slice(0, 21)), ("test", slice(21, 30)))
    )
    dataset = datasets.ArrayDataset("tiny", train, test, ("a", "b", "c"))
    config = dataclasses.replace(tiny_config, model="linear", model_options={}, epochs=1)
    problem = Problem(config, dataset)
    trainer = fit.FitTrainer(problem, fit.build_strategy("default"))
    expected = numpy_sgd(problem, 0, steps=4)
    for ours, slow in zip(trainer.weights_after(0, 4), expected, strict=True):
        np.testing.assert_allclose(ours, slow, atol=1e-6)
