"""What figures and the report show, chosen by hand."""

import numpy as np
import pytest

from analysis import gallery, pairs


def test_gallery_shows_the_nearest_within_the_window():
    memorization = np.array([0.66, 0.4, 0.6, 0.5, 0.36, 0.51, 0.5, 0.45])
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 0])
    # Distances of class 0: .16 .1 .1 0 .14 .01 - .05; the first is outside of 0.15.
    assert gallery.nearest_examples(memorization, labels, 0, 0.5).tolist() == [3, 5, 7, 1]
    assert gallery.nearest_examples(memorization, labels, 1, 0.5).tolist() == [6]
    assert gallery.nearest_examples(memorization, labels, 1, 1.0).tolist() == []
    # The window's border belongs to it.
    assert gallery.nearest_examples(np.array([0.65]), np.array([0]), 0, 0.5).tolist() == [0]


def test_gallery_keeps_the_classes_with_the_most_memorized_examples(monkeypatch):
    monkeypatch.setattr(gallery, "CLASSES", 2)
    labels = np.array([0, 1, 1, 2, 2, 2])
    memorization = np.array([0.1, 0.3, 0.1, 0.3, 0.3, 0.3])
    assert gallery.shown_classes(memorization, labels, 3, 0.25).tolist() == [1, 2]


def many(count):
    """Training example k has its highest influence, 1 - k / 1000, on test example k."""
    index = np.arange(count)
    influence = 1 - index / 1000
    return pairs.Pairs(
        np.concatenate([index, index])[::-1],
        np.concatenate([index, index + count])[::-1],
        np.concatenate([influence, influence / 2])[::-1],
        np.ones(2 * count),
    )


def test_panels_without_pairs():
    assert gallery.panel_training_examples(many(0)).shape == (1, 0)


def test_panels_follow_the_selection_procedure():
    """App. C: linspace(0, 100 - 3, 5) = 0, 24.25, 48.5, 72.75, 97, cut to integers."""
    assert gallery.panel_training_examples(many(100)).tolist() == [
        [0, 24, 48, 72, 97],
        [1, 25, 49, 73, 98],
        [2, 26, 50, 74, 99],
    ]


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (6, (1, 6)), (7, (3, 5))])
def test_panels_of_few_examples_do_not_repeat(count, shape):
    chosen = gallery.panel_training_examples(many(count))
    assert chosen.shape == shape
    assert len(np.unique(chosen)) == min(count, 15)
    assert chosen[0, 0] == 0
