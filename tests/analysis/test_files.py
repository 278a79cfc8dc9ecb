import numpy as np
import pytest

from analysis import estimators, files, pairs
from tests.trials import trial_set

# The ImageNet pairs that the paper's authors publish, by the counts of Sec. 3.3 and of facts.
PUBLISHED_HISTOGRAM = [825, 381, 168, 93, 58, 43, 23, 19, 13, 6, 5, 5, 1, 1, 0, 0, 0]


@pytest.fixture
def trials(rng):
    data = [rng.random((30, count)) < 0.6 for count in (12, 12, 8)]
    return trial_set(*data, np.arange(12) % 3, np.arange(8) % 3)


def write(path, trials, **more):
    memorization = estimators.memorization(trials)
    influences = [estimators.class_influence(trials, label) for label in range(3)]
    files.write_estimates(
        path, memorization, trials.train_labels, trials.test_labels, influences, **more
    )
    return memorization, influences


def test_estimates_both_ways(tmp_path, trials):
    path = tmp_path / "estimates.npz"
    ids = (np.array([f"é{index}" for index in range(12)]), np.arange(8).astype(str))
    memorization, influences = write(path, trials, num_trials=30, ids=ids)
    read = files.read_estimates(path)
    assert read.train_ids.tolist() == ids[0].tolist()
    assert read.test_ids.tolist() == ids[1].tolist()
    np.testing.assert_array_equal(read.memorization, memorization.value)
    np.testing.assert_array_equal(read.details.standard_error, memorization.standard_error)
    np.testing.assert_array_equal(read.details.num_out, memorization.num_out)
    assert read.num_trials == 30
    for ours, theirs in zip(read.influences, influences, strict=True):
        np.testing.assert_array_equal(ours.value, theirs.value)
        np.testing.assert_array_equal(ours.standard_error, theirs.standard_error)
        np.testing.assert_array_equal(ours.test_index, theirs.test_index)


def test_the_layout_is_the_published_one(tmp_path, trials):
    path = tmp_path / "estimates.npz"
    memorization, _ = write(path, trials)
    with np.load(path, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["tr_mem"], memorization.value)
        np.testing.assert_array_equal(archive["tr_labels"], trials.train_labels)
        np.testing.assert_array_equal(archive["tt_labels"], trials.test_labels)
        for label in range(3):
            train = archive[f"tr_classidx_{label}"]
            assert (trials.train_labels[train] == label).all()
            shape = (len(train), len(archive[f"tt_classidx_{label}"]))
            assert archive[f"infl_matrix_class{label}"].shape == shape
            assert archive[f"infl_se_class{label}"].shape == shape
        extra = {"tr_mem_se", "tr_heldout_accuracy", "num_in", "num_out"}
        assert extra <= set(archive.files)


def test_a_published_file_without_errors_is_read(tmp_path, trials):
    path = tmp_path / "published.npz"
    influence = estimators.class_influence(trials, 0)
    np.savez(
        path,
        tr_mem=np.zeros(12),
        tr_labels=trials.train_labels,
        tt_labels=trials.test_labels,
        tr_classidx_0=influence.train_index,
        tt_classidx_0=influence.test_index,
        infl_matrix_class0=influence.value,
    )
    read = files.read_estimates(path)
    assert read.details is None
    assert read.train_ids is None
    assert read.influences[0].standard_error is None


def test_the_full_matrix_streams(tmp_path, trials, monkeypatch):
    monkeypatch.setattr(estimators, "_ROWS", 8)
    path = tmp_path / "full.npz"
    _, influences = write(path, trials, full=estimators.full_influence(trials))
    with np.load(path) as archive:
        matrix = archive["infl_matrix"]
    assert (matrix.shape, matrix.dtype) == ((12, 8), np.float32)
    for block in influences:
        part = matrix[np.ix_(block.train_index, block.test_index)]
        np.testing.assert_allclose(part, block.value, atol=1e-7)


def test_a_failed_write_keeps_what_was_there(tmp_path, trials):
    path = tmp_path / "full.npz"
    write(path, trials)
    before = path.read_bytes()

    def failing():
        yield np.zeros((1, 8), np.float32)
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write(path, trials, full=failing())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_bad_files_are_named(tmp_path, trials):
    path = tmp_path / "bad.npz"
    with pytest.raises(ValueError, match="does not exist"):
        files.read_pairs(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="is not an npz file"):
        files.read_pairs(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ValueError, match="single array"):
        files.read_pairs(tmp_path / "one.npy")
    np.savez(path, tr_idx=np.arange(2), infl=np.zeros(2))
    with pytest.raises(ValueError, match="lacks tt_idx, mem; it has tr_idx, infl"):
        files.read_pairs(path)
    np.savez(path, tr_idx=np.arange(2), tt_idx=np.arange(2), infl=np.zeros(2), mem=np.zeros(3))
    with pytest.raises(ValueError, match="different shapes"):
        files.read_pairs(path)
    labels = {"tr_labels": trials.train_labels, "tt_labels": trials.test_labels}
    np.savez(path, tr_mem=np.zeros(11), **labels)
    with pytest.raises(ValueError, match=r"tr_mem has shape \(11,\), expected \(12,\)"):
        files.read_estimates(path)
    np.savez(path, tr_mem=np.array([{}], object), **labels)
    with pytest.raises(ValueError, match="allow_pickle"):
        files.read_estimates(path)
    wrong = {"tr_classidx_0": np.array([1]), "tt_classidx_0": np.array([0])}
    np.savez(path, tr_mem=np.zeros(12), **labels, **wrong, infl_matrix_class0=np.zeros((1, 1)))
    with pytest.raises(ValueError, match="class 0 lists examples that have another label"):
        files.read_estimates(path)


def test_pairs_both_ways(tmp_path):
    path = tmp_path / "pairs.npz"
    written = pairs.Pairs(*np.arange(12.0).reshape(4, 3))
    files.write_pairs(path, written)
    read = files.read_pairs(path)
    np.testing.assert_array_equal(read.train_index, written.train_index)
    with np.load(path) as archive:
        assert set(archive.files) == {"tr_idx", "tt_idx", "infl", "mem"}
        np.testing.assert_array_equal(archive["mem"], [9, 10, 11])


@pytest.mark.data
def test_published_imagenet_pairs(published_dir):
    """Sec. 3.3: 1641 pairs, 1462 test examples, 1298 of them with a single influencer."""
    name = "imagenet_high_infl_pairs_infl0.15_mem0.25.npz"
    published = files.read_pairs(published_dir / name)
    counts = pairs.count(published)
    assert (counts.pairs, counts.test_examples) == (1641, 1462)
    assert counts.test_examples_by_influencers == (0, 1298, 150, 13, 1)
    bins = np.histogram(published.influence, np.linspace(0.15, 1, 18))[0]
    assert bins.tolist() == PUBLISHED_HISTOGRAM
    assert published.memorization.min() >= 0.25
