import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from analysis.estimates import estimators, files, pairs
from analysis.estimates.values import (
    CORRECTNESS,
    ClassInfluence,
    Estimates,
    Influences,
    Memorization,
    Pairs,
)
from tests.conftest import run_program
from tests.memory import peak_memory
from tests.trials import trial_set

# The ImageNet pairs that the paper's authors publish, by the counts of Sec. 3.3 and of facts.
PUBLISHED_HISTOGRAM = [825, 381, 168, 93, 58, 43, 23, 19, 13, 6, 5, 5, 1, 1, 0, 0, 0]


@pytest.fixture
def trials(rng):
    data = [rng.random((30, count)) < 0.6 for count in (12, 12, 8)]
    return trial_set(*data, np.arange(12) % 3, np.arange(8) % 3)


def write(path, trials, **more):
    estimates = dataclasses.replace(estimators.estimate(trials), **more)
    files.write(path, estimates)
    return estimates.details, estimates.influences


def test_estimates_both_ways(tmp_path, trials):
    path = tmp_path / "estimates.npz"
    ids = (np.array([f"é{index}" for index in range(12)]), np.arange(8).astype(str))
    memorization, influences = write(path, trials, train_ids=ids[0], test_ids=ids[1])
    read = files.read(path)
    assert read.train_ids.tolist() == ids[0].tolist()
    assert read.estimator == CORRECTNESS
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
    read = files.read(path)
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


def test_published_files_in_single_precision(tmp_path, trials):
    path = tmp_path / "published.npz"
    memorization, influences = write(path, trials)
    with np.load(path) as archive:
        content = {name: archive[name] for name in archive.files if "class" in name}
    single = {
        name: array.astype(np.float32) if "matrix" in name else array.astype(np.int32)
        for name, array in content.items()
        if "_se_" not in name
    }
    np.savez_compressed(
        path,
        tr_mem=memorization.value.astype(np.float32),
        tr_labels=trials.train_labels.astype(np.int32),
        tt_labels=trials.test_labels.astype(np.uint8),
        **single,
    )
    read = files.read(path)
    assert read.memorization.dtype == read.influences[1].value.dtype == np.float64
    np.testing.assert_array_equal(read.memorization, np.round(memorization.value, 7))
    for ours, theirs in zip(read.influences, influences, strict=True):
        np.testing.assert_array_equal(ours.value, np.round(theirs.value, 7))
        assert ours.standard_error is None


def script_file(path, trials, dtype, save=np.savez):
    """Writes what the release's MNIST script would of these trials; returns the full matrix."""
    full = np.concatenate(list(estimators.full_influence(trials))).astype(dtype)
    memorization = estimators.memorization(trials).value.astype(dtype)
    save(path, memorization=memorization, influence=np.ascontiguousarray(full.T))
    return full


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_the_mnist_script_writes(tmp_path, trials, dtype, save, monkeypatch):
    monkeypatch.setattr("tfmem.disk.npz._BLOCK_BYTES", 200)  # Some of the 8 rows at once.
    path = tmp_path / "infl_mem.npz"
    full = script_file(path, trials, dtype, save)
    with pytest.raises(
        ValueError, match=r"infl_mem\.npz has memorization .* no labels .*--dataset"
    ):
        files.read(path)
    read = files.read(path, (trials.train_labels, trials.test_labels))
    np.testing.assert_allclose(read.memorization, estimators.memorization(trials).value, atol=1e-6)
    assert read.details is read.train_ids is read.num_trials is None
    assert len(read.influences) == 3
    for label, block in enumerate(read.influences):
        np.testing.assert_array_equal(block.train_index, np.flatnonzero(np.arange(12) % 3 == label))
        np.testing.assert_array_equal(block.test_index, np.flatnonzero(np.arange(8) % 3 == label))
        expected = full[np.ix_(block.train_index, block.test_index)].astype(np.float64)
        if dtype == np.float32:
            expected = np.round(expected, 7)
        np.testing.assert_array_equal(block.value, expected)
        assert block.value.dtype == np.float64
        np.testing.assert_array_equal(read.influences[label].value, expected)
    with pytest.raises(ValueError, match=r"memorization has shape \(12,\), expected \(11,\)"):
        files.read(path, (trials.train_labels[:11], trials.test_labels))
    with pytest.raises(ValueError, match=r"influence has shape \(8, 12\), expected \(9, 12\)"):
        files.read(path, (trials.train_labels, np.arange(9) % 3))


def fractions(rng, count=400):
    """Returns the counts of trials (right, of those that saw it; right, of the others) at random.

    Of these the difference of rates is often a multiple of 1/20 exactly.
    """
    num_in, num_out = rng.choice([20, 40, 60, 700, 1400], count), rng.choice([20, 300, 600], count)
    return rng.integers(0, num_in + 1), num_in, rng.integers(0, num_out + 1), num_out


def of_the_script(right_in, num_in, right_out, num_out):
    """What the release's script makes of counts: rates and their difference in float32."""
    rates = (right_in / num_in).astype(np.float32), (right_out / num_out).astype(np.float32)
    return rates[0] - rates[1]


def nearest(dtype):
    """Returns what rounds fractions to a dtype, and does nothing else to them."""

    def value(right_in, num_in, right_out, num_out):
        counts = right_in * num_out - right_out * num_in
        return (counts / (num_in * num_out)).astype(dtype)

    return value


@pytest.mark.parametrize("threshold", ["0.1", "0.15", "0.25", "0.3", "0.35", "0.7"])
@pytest.mark.parametrize("value", [of_the_script, nearest(np.float32), nearest(np.float64)])
def test_a_fraction_that_reaches_the_threshold_reaches_it(tmp_path, rng, value, threshold):
    """Whatever the precision of the file: as many examples, and pairs, as the fractions say."""
    right_in, num_in, right_out, num_out = counts = fractions(rng)
    # Every third reaches the threshold exactly: 1, 0.95, ... of 20 less 1 - threshold, ...
    low = rng.integers(0, 5, len(num_in[::3]))
    num_in[::3], num_out[::3], right_out[::3] = 60, 20, low
    right_in[::3] = 3 * (low + int(20 * Fraction(threshold)))
    exact = [
        Fraction(a, b) - Fraction(c, d) >= Fraction(threshold)
        for a, b, c, d in zip(*(part.tolist() for part in counts), strict=True)
    ]
    assert sum(exact) >= len(low)
    found = value(*counts)
    path, labels = tmp_path / "infl_mem.npz", (np.zeros(len(found), int), np.zeros(1, int))
    np.savez(path, memorization=found, influence=found[None])
    read = files.read(path, labels)
    assert (read.memorization >= float(threshold)).tolist() == exact
    assert (read.influences[0].value[:, 0] >= float(threshold)).tolist() == exact
    selected = files.select_pairs(read, path, float(threshold), float(threshold))
    assert sorted(selected.train_index.tolist()) == np.flatnonzero(exact).tolist()
    # Pairs of others, such as in single precision too.
    np.savez(
        path, tr_idx=np.arange(len(found)), tt_idx=np.arange(len(found)), infl=found, mem=found
    )
    reach = files.read_pairs(path).influence >= float(threshold)
    assert reach.tolist() == exact


def test_pairs_of_what_the_mnist_script_writes(tmp_path, digits, rng):
    labels = digits.train.labels, digits.test.labels
    memorization = rng.random(1257).astype(np.float32)
    influence = rng.random((540, 1257), np.float32) * 0.2
    path = tmp_path / "infl_mem.npz"
    np.savez(path, memorization=memorization, influence=influence)
    flags = [f"--estimates={path}", f"--out={tmp_path / 'pairs.npz'}"]
    done = run_program("analysis.select_pairs", *flags, check=False)
    assert "no labels" in done.stderr
    run_program("analysis.select_pairs", *flags, "--dataset=digits")
    found = files.read_pairs(tmp_path / "pairs.npz")
    chosen = (influence.T >= 0.15) & (memorization >= 0.25)[:, None]
    chosen &= labels[0][:, None] == labels[1][None, :]
    expected = set(zip(*map(np.ndarray.tolist, np.nonzero(chosen)), strict=True))
    assert set(zip(found.train_index.tolist(), found.test_index.tolist(), strict=True)) == expected


def test_the_published_index_of_imagenet(tmp_path):
    path = tmp_path / "imagenet_index.npz"
    names = np.array([b"n01440764_10026.JPEG", b"n01440764_10027.JPEG", b"n01443537_2.JPEG"])
    np.savez(
        path,
        tr_filenames=names,
        tr_labels=np.array([0, 0, 1]),
        tr_mem=np.array([0.1, 0.9, 0.5], np.float32),
        tt_filenames=np.array([b"ILSVRC2012_val_00000001.JPEG"]),
        tt_labels=np.array([1]),
    )
    read = files.read(path)
    assert read.influences == ()
    assert read.train_ids.tolist() == [name.decode() for name in names]
    assert read.test_ids.tolist() == ["ILSVRC2012_val_00000001.JPEG"]
    np.testing.assert_array_equal(read.memorization, [0.1, 0.9, 0.5])
    np.testing.assert_array_equal(read.test_labels, [1])


def test_given_labels_must_be_those_of_the_file(tmp_path, trials):
    path = tmp_path / "estimates.npz"
    write(path, trials)
    files.read(path, (trials.train_labels, trials.test_labels))
    with pytest.raises(ValueError, match=r"estimates\.npz: tt_labels are not the given labels"):
        files.read(path, (trials.train_labels, trials.test_labels[::-1]))


def test_classes_are_read_when_they_are_asked_for(tmp_path, trials):
    path = tmp_path / "estimates.npz"
    _, influences = write(path, trials)
    # Nothing but the loop holds the file.
    values = [block.value for block in files.read(path).influences]
    assert len(values) == 3
    read = files.read(path).influences
    np.testing.assert_array_equal(read[-1].value, influences[2].value)
    np.testing.assert_array_equal(read[1:][0].value, influences[1].value)
    assert [block.test_index.tolist() for block in read[::2]] == [[0, 3, 6], [2, 5]]
    with pytest.raises(IndexError):
        read[3]
    # Another file of the same name is another file.
    np.savez(tmp_path / "other.npz", a=np.zeros(1))
    (tmp_path / "other.npz").replace(path)
    np.testing.assert_array_equal(read[0].value, influences[0].value)
    both = zip(read, read, strict=True)  # Two readings side by side.
    assert all((a.value == b.value).all() for a, b in both)


def test_one_class_is_in_memory(tmp_path):
    """12 classes of 1.1 MB are written and read, beside a full matrix of 52 MB, in 5 MB."""
    path = tmp_path / "large.npz"
    labels = np.repeat(np.arange(12), 300)

    def blocks(wanted, chosen, errors):
        for label in wanted:
            index = np.flatnonzero(labels == label)
            value = np.full((300, 300), float(label))
            yield ClassInfluence(index, index, value, value.astype(np.float32))

    def write():
        full = (np.zeros((10, 3600), np.float32) for _ in range(360))
        influences = Influences(12, blocks)
        files.write(path, Estimates(details.value, labels, labels, influences, details, full=full))

    def read():
        found = files.read(path)
        for label, block in enumerate(found.influences):
            assert block.value[0, 0] == block.standard_error[1, 1] == label

    details = Memorization(*(np.zeros(3600) for _ in range(5)))
    assert peak_memory(write) < 5e6
    assert path.stat().st_size > 60e6
    assert peak_memory(read) < 5e6
    assert peak_memory(lambda: files.read(path)) < 1e6


def test_consistency_scores(tmp_path):
    path = tmp_path / "cscores.npy"
    np.save(path, np.array([0, 0.25, 1], np.float32))
    scores = files.read_consistency_scores(path)
    assert (scores.dtype, scores.tolist()) == (np.float64, [0, 0.25, 1])
    for wrong, said in (
        (np.array([0.5, 1.5]), r"score 1 is 1.5, expected \[0, 1\]"),
        (np.array([0.5, np.nan]), "score 1 is nan"),
        (np.array([-0.01]), "score 0 is -0.01"),
        (np.zeros((2, 3)), r"is float64 \[2, 3\], expected scores"),
        (np.arange(3), r"is int64 \[3\], expected scores"),
        (np.array([{}]), "allow_pickle"),
    ):
        np.save(path, wrong)
        with pytest.raises(ValueError, match=said):
            files.read_consistency_scores(path)
    np.savez(tmp_path / "mem.npz", tr_mem=np.zeros(3))
    expected = (
        r"mem\.npz lacks scores, labels; it has tr_mem; expected consistency scores: an npy f"
    )
    with pytest.raises(ValueError, match=expected):
        files.read_consistency_scores(tmp_path / "mem.npz")
    (tmp_path / "mem.npz").rename(tmp_path / "mem.npy")
    with pytest.raises(ValueError, match=r"mem\.npy is an npz file, expected a single array"):
        files.read_consistency_scores(tmp_path / "mem.npy")


def test_consistency_scores_with_labels(tmp_path):
    """As those of CIFAR, in one order, and of ImageNet, by file names."""
    path, scores, labels = tmp_path / "cscores.npz", np.array([0.5, 0.25, 1]), np.array([2, 0, 1])
    np.savez(path, scores=scores, labels=labels)
    ids = np.array(["b", "c", "a"])
    for given in ((), (labels,), (labels, ids)):
        assert files.read_consistency_scores(path, *given).tolist() == [0.5, 0.25, 1]
    with pytest.raises(ValueError, match="labels training example 1 0, and the estimates 1: anoth"):
        files.read_consistency_scores(path, np.array([2, 1, 0]))
    with pytest.raises(ValueError, match="has 3 scores, expected one for each of the 4 training"):
        files.read_consistency_scores(path, np.zeros(4, int))
    np.savez(path, scores=scores, labels=labels, filenames=np.array([b"a", b"b", b"c"]))
    found = files.read_consistency_scores(path, np.array([0, 1, 2]), ids)
    assert found.tolist() == [0.25, 1, 0.5]
    assert files.read_consistency_scores(path, labels).tolist() == [0.5, 0.25, 1]
    with pytest.raises(ValueError, match="has no example d: another dataset"):
        files.read_consistency_scores(path, labels, np.array(["a", "d", "b"]))
    with pytest.raises(ValueError, match="labels training example 0 0, and the estimates 2: anoth"):
        files.read_consistency_scores(path, labels, ids)
    np.savez(path, scores=scores[:2], labels=labels)
    with pytest.raises(ValueError, match=r"labels has shape \(3,\), expected \(2,\)"):
        files.read_consistency_scores(path)
    np.savez(path, scores=scores[None], labels=labels)
    with pytest.raises(ValueError, match=r"scores is float64 \[1, 3\], expected scores: floats"):
        files.read_consistency_scores(path)


def test_files_of_another_kind_are_named(tmp_path, trials):
    estimates, found = tmp_path / "estimates.npz", tmp_path / "pairs.npz"
    write(estimates, trials)
    files.write_pairs(found, Pairs(*np.arange(12.0).reshape(4, 3)))
    with pytest.raises(
        ValueError, match=r"estimates\.npz is an estimates file; expected a pairs f"
    ):
        files.read_pairs(estimates)
    with pytest.raises(ValueError, match=r"pairs\.npz is a pairs file; expected an estimates file"):
        files.read(found)
    for content, kind in (
        (
            {"memorization": 0, "influence": 0},
            "as the release's MNIST script writes them; expected",
        ),
        ({"subset_mask": 0, "train_correct": 0}, "trials, which tfmem import_trials reads"),
        ({"subsample_idx": 0, "index_train": 0}, "one run, of which tfmem import_trials"),
    ):
        np.savez(tmp_path / "other.npz", **content)
        with pytest.raises(ValueError, match=rf"other\.npz is .*{kind}"):
            files.read_pairs(tmp_path / "other.npz")
    np.savez(tmp_path / "other.npz", **{f"a{number}": 0 for number in range(99)})
    with pytest.raises(ValueError, match=r"lacks tr_mem, .*it has a0, .*a9 and 89 more; expected"):
        files.read(tmp_path / "other.npz")


def test_arrays_that_do_not_fit_are_named(tmp_path, trials):
    path = tmp_path / "estimates.npz"
    write(path, trials)
    with np.load(path) as archive:
        content = dict(archive)
    for changes, said in (
        ({"tr_labels": content["tr_labels"] / 2}, "tr_labels is float64, expected integers"),
        ({"tr_mem": content["tr_mem"].astype(str)}, "tr_mem is <U32, expected floats"),
        ({"tt_classidx_1": np.array([1, 4, 8])}, "tt_classidx_1 has no indices of the 8 labels"),
        ({"tr_classidx_1": np.array([-1])}, "tr_classidx_1 has no indices of the 12 labels"),
        ({"infl_matrix_class1": np.zeros((4, 2))}, r"shape \(4, 2\), expected \(4, 3\)"),
        ({"infl_se_class2": np.zeros((4, 4))}, r"infl_se_class2 has shape \(4, 4\), expected"),
        ({"infl_matrix_class1": None}, "lacks infl_matrix_class1"),
        ({"tr_classidx_0": None}, "lacks tr_classidx_0"),
        ({"num_in": np.zeros(11)}, r"num_in has shape \(11,\), expected \(12,\)"),
    ):
        changed = {**content, **changes}
        np.savez(path, **{name: array for name, array in changed.items() if array is not None})
        with pytest.raises(ValueError, match=said) as error:
            files.read(path)
        assert "estimates.npz" in str(error.value)


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
    with pytest.raises(ValueError, match="lacks tt_idx, mem; it has tr_idx, infl; expected"):
        files.read_pairs(path)
    np.savez(path, tr_idx=np.arange(2), tt_idx=np.arange(2), infl=np.zeros(2), mem=np.zeros(3))
    with pytest.raises(ValueError, match="different shapes"):
        files.read_pairs(path)
    labels = {"tr_labels": trials.train_labels, "tt_labels": trials.test_labels}
    np.savez(path, tr_mem=np.zeros(11), **labels)
    with pytest.raises(ValueError, match=r"tr_mem has shape \(11,\), expected \(12,\)"):
        files.read(path)
    np.savez(path, tr_mem=np.array([{}], object), **labels)
    with pytest.raises(ValueError, match="allow_pickle"):
        files.read(path)
    wrong = {"tr_classidx_0": np.array([1]), "tt_classidx_0": np.array([0])}
    np.savez(path, tr_mem=np.zeros(12), **labels, **wrong, infl_matrix_class0=np.zeros((1, 1)))
    with pytest.raises(ValueError, match="class 0 lists examples that have another label"):
        files.read(path)


def test_pairs_both_ways(tmp_path):
    path = tmp_path / "pairs.npz"
    written = Pairs(*np.arange(12.0).reshape(4, 3))
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


@pytest.mark.data
def test_published_consistency_scores(published_dir):
    """Most digits are consistent; 1.83% are rather wrong than right without having been seen."""
    scores = files.read_consistency_scores(published_dir / "mnist-cscores.npy")
    assert scores.shape == (60_000,)
    assert (scores.min(), np.median(scores), scores.max()) == (0, 1, 1)
    assert (scores < 0.5).sum() == 1098


@pytest.mark.data
@pytest.mark.slow
def test_published_consistency_scores_of_cifar(published_dir, tfds_dir):
    """Their labels are those of CIFAR-10 in its original order, as it is read here."""
    from tfmem import datasets

    path = published_dir / "cifar10-cscores-orig-order.npz"
    labels = datasets.load("cifar10", tfds_dir).train.labels
    scores = files.read_consistency_scores(path, labels)
    assert scores.shape == (50_000,)
    assert (scores.min().round(4), scores.max().round(4)) == (0.0042, 0.915)
    with pytest.raises(ValueError, match="another dataset, or another order"):
        files.read_consistency_scores(path, labels[::-1])
