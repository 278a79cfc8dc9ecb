"""The synthetic trials of the benchmarks: what is planted is what is found, and nothing else."""

import numpy as np
import pytest

from analysis.estimates import estimators, pairs
from launchers import benchmarks
from launchers.benchmarks import planted, sizes
from tfmem import quiet


def test_what_was_planted_is_found(tmp_path):
    dataset, made = planted.plant(n=300, n_test=120, classes=6, pairs=40)
    assert len(set(made.train_index)) == len(set(made.test_index)) == 40
    labels = dataset.train.labels[made.train_index]
    np.testing.assert_array_equal(labels, dataset.test.labels[made.test_index])
    trials = planted.write(dataset, made, tmp_path, num_trials=1000).load()
    memorization = estimators.memorization(trials).value
    found = pairs.select(memorization, estimators.class_influences(trials))
    assert sorted(zip(found.train_index, found.test_index, strict=True)) == sorted(
        zip(made.train_index, made.test_index, strict=True)
    )
    # A planted training example is right if and only if it was seen.
    assert memorization[made.train_index].tolist() == made.memorization.tolist() == [1.0] * 40
    truth = dict(zip(made.train_index.tolist(), made.influence, strict=True))
    error = found.influence - [truth[index] for index in found.train_index.tolist()]
    # The standard error is at most sqrt(1 / 2800 + 1 / 1200) = 0.035.
    assert np.abs(error).max() < 4 * 0.035
    assert np.abs(error).mean() < 0.035


def test_planting_is_a_function_of_its_seed(tmp_path):
    one, two, other = (planted.plant(30, 20, 4, 5, seed) for seed in (0, 0, 1))
    first, again, others = (pairs.train_index.tolist() for _, pairs in (one, two, other))
    assert first == again != others
    for name in "ab":
        planted.write(*one, tmp_path / name, num_trials=2)
    for trial in ("trial-000000.tfrecord", "trial-000001.tfrecord"):
        contents = [(tmp_path / name / "trials" / trial).read_bytes() for name in "ab"]
        assert contents[0] == contents[1]


@pytest.mark.slow
def test_all_benchmarks_run(capsys):
    """All of `make bench`, as small as it can be: every part prints its figures."""
    quiet.import_tensorflow()
    benchmarks.run(sizes.SMALLEST, data_dir=None)
    said = capsys.readouterr().out
    for words in (
        "stacked, 4 trials",
        "plain Keras fit",
        "compiled by XLA",
        "class by class",
        "linear trials",
        "with turn-over dropout",
        "never formed",
        "products alone",
        "merged into one archive",
        "claimed, logged, stored and given back",
        "one look",
    ):
        assert words in said, said
    assert "5 pairs found, 5 planted: the same" in said
    assert "MB/s" in said
