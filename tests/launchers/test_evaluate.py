"""Kept networks on another test set, through the programs and their flags."""

import shutil

import numpy as np
import pytest

from tests import signalled
from tests.conftest import assert_refused
from tests.programs import run_program
from tests.trials import assert_same_trial
from tfmem.disk import npz
from tfmem.store.store import Store

SMALL = ("--experiment=digits_mlp", "--epochs=2", '--model_options={"hidden": [8]}')


def train(store, dataset, *flags, check=True):
    words = *SMALL, f"--dataset={dataset}", f"--store={store}", *flags
    return run_program("launchers.train_trials", *words, check=check)


def evaluate(store, dataset, out, *flags, check=True):
    words = f"--store={store}", f"--dataset={dataset}", f"--out_store={out}", *flags
    return run_program("launchers.evaluate", *words, check=check)


def write(path, train_part, test_part, **others):
    """Writes an npz file of two (inputs, labels); returns it as a dataset."""
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez(path, **dict(zip(names, [*train_part, *test_part], strict=True)), **others)
    return f"npz:{path}"


def examples(rng, count, shape=(4, 4), classes=3, dtype=np.uint8):
    values = (
        rng.integers(0, 256, (count, *shape))
        if dtype == np.uint8
        else rng.normal(size=(count, *shape))
    )
    return values.astype(dtype), np.arange(count) % classes


def assert_same_stores(found, expected, numbers):
    """Asserts that what was evaluated is what was trained with that test set, to the bit."""
    one, two = Store.open(found), Store.open(expected)
    assert one.numbers() == two.numbers() == list(numbers)
    assert one.head.dataset_fingerprint == two.head.dataset_fingerprint
    assert one.head.labels_fingerprint == two.head.labels_fingerprint
    for number in numbers:
        assert_same_trial(one.read(number), two.read(number))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Images of three classes and two test sets; 6 stacked trials with the first, kept."""
    folder, rng = tmp_path_factory.mktemp("made"), np.random.default_rng(3)
    mine, other = examples(rng, 40), examples(rng, 13)
    write(folder / "first.npz", mine, examples(rng, 9))
    write(folder / "other.npz", examples(rng, 5), other)
    write(folder / "joined.npz", mine, other)
    said = train(folder / "kept", f"npz:{folder}/first.npz", "--trials=0:6", "--keep_networks")
    assert said.stdout == f"6 trials in {folder / 'kept'}\n"
    return folder


@pytest.fixture
def kept(made, tmp_path):
    """A copy of the store, to be damaged."""
    shutil.copytree(made / "kept", tmp_path / "kept")
    return tmp_path / "kept"


def test_stacked_to_the_bit_as_if_trained_with_it(made, tmp_path):
    out = tmp_path / "out"
    said = evaluate(made / "kept", f"npz:{made}/other.npz", out, "--trials=1:4").stdout
    assert said == f"3 trials in {out}\n"
    assert Store.open(out).head.asked == [range(1, 4)]
    said = evaluate(made / "kept", f"npz:{made}/other.npz", out).stdout.splitlines()
    assert said == [f"3 of 6 trials are already in {out}", f"6 trials in {out}"]
    words = f"--store={out}", f"--out={tmp_path / 'scores.npz'}"
    refused = run_program("analysis.consistency_scores", *words, check=False)
    assert_refused(refused, f"{out} holds copies of trials, evaluated on another test set: give")
    train(tmp_path / "trained", f"npz:{made}/joined.npz", "--trials=0:6")
    assert_same_stores(out, tmp_path / "trained", range(6))
    store = Store.open(out)
    assert store.config.kind == "evaluation"
    assert store.config.experiment == Store.open(made / "kept").config
    assert store.config.test_dataset == f"npz:{made}/other.npz"
    assert store.head.asked == [range(6)]
    assert store.command(2, 5) == (
        f"tfmem evaluate --store={made}/kept --dataset=npz:{made}/other.npz --out_store={out} "
        "--trials=2:5"
    )


def test_programs_read_it_as_any_store(made, tmp_path):
    out = tmp_path / "out"
    evaluate(made / "kept", f"npz:{made}/other.npz", out)
    estimates = tmp_path / "estimates.npz"
    run_program("analysis.estimate", f"--store={out}", f"--out={estimates}")
    with npz.open_npz(estimates) as found:
        assert found["tt_labels"].shape == (13,)
        assert found["tr_labels"].shape == (40,)
    pairs = f"--out={tmp_path / 'pairs.npz'}"
    run_program("analysis.select_pairs", f"--estimates={estimates}", pairs)
    run_program("analysis.convergence", f"--store={out}")
    page = tmp_path / "report.html"
    done = run_program("analysis.report", f"--store={out}", f"--out={page}")
    assert "no pictures" not in done.stderr
    text = page.read_text()
    assert "The test examples are those of other.npz, on which the models were evaluated." in text
    assert "data:image" in text
    done = run_program("launchers.check_store", f"--store={out}")
    assert "6 trials are there and sound" in done.stdout


IMAGES = ("--stack=none", f"--model={__file__}:with_batch_norm", "--model_options={}")


def with_batch_norm(input_shape, num_classes):
    """As a user's file has it."""
    import keras

    layers = [keras.layers.Flatten(), keras.layers.Dense(8), keras.layers.BatchNormalization()]
    return keras.Sequential([*layers, keras.layers.ReLU(), keras.layers.Dense(num_classes)])


@pytest.mark.parametrize(
    ("shape", "dtype", "flags"),
    [
        ((4, 4), np.uint8, [*IMAGES, "--corrupted_labels=9", "--crop=padded", "--crop_padding=1"]),
        pytest.param((5, 6), np.uint8, ["--image_size=4"], marks=pytest.mark.slow),
        pytest.param((7,), np.float64, ["--standardize"], marks=pytest.mark.slow),
        ((7,), np.float32, ["--stack=none", "--precision=mixed_float16"]),
    ],
    ids=["batch_norm_and_corrupted", "resized", "standardized", "float16"],
)
def test_every_kind_of_trial(shape, dtype, flags, rng, tmp_path):
    mine, other, first = (examples(rng, count, shape, dtype=dtype) for count in (30, 11, 8))
    a = write(tmp_path / "a.npz", mine, first)
    # The other training set is of another mean: features are standardized by what was trained on.
    b = write(tmp_path / "b.npz", (other[0][:6] // 2, other[1][:6]), other)
    joined = write(tmp_path / "joined.npz", mine, other)
    train(tmp_path / "kept", a, "--trials=0:2", "--keep_networks", *flags)
    train(tmp_path / "trained", joined, "--trials=0:2", *flags)
    evaluate(tmp_path / "kept", b, tmp_path / "out")
    assert_same_stores(tmp_path / "out", tmp_path / "trained", range(2))


def test_tables_and_classes_in_another_order(tmp_path, rng):
    """Columns by name; of classes that are texts the names count."""

    def table(name, parts, classes):
        lines = ["a,b,label,split"]
        for split, count in parts.items():
            values = rng_of[split].normal(size=(count, 2)).round(3).tolist()
            lines += [f"{a},{b},{classes[i % 2]},{split}" for i, (a, b) in enumerate(values)]
        (tmp_path / name).write_text("\n".join(lines))
        return f"csv:{tmp_path / name}"

    rng_of = {split: np.random.default_rng(4) for split in ("train", "test")}
    a = table("a.csv", {"train": 30, "test": 6}, ("cat", "dog"))
    rng_of = {"train": np.random.default_rng(5), "test": np.random.default_rng(6)}
    b = table("b.csv", {"train": 8, "test": 12}, ("cat", "dog"))
    rng_of = {"train": np.random.default_rng(4), "test": np.random.default_rng(6)}
    joined = table("joined.csv", {"train": 30, "test": 12}, ("cat", "dog"))
    train(tmp_path / "kept", a, "--trials=0:2", "--standardize", "--keep_networks")
    train(tmp_path / "trained", joined, "--trials=0:2", "--standardize")
    evaluate(tmp_path / "kept", b, tmp_path / "out")
    one, two = Store.open(tmp_path / "out"), Store.open(tmp_path / "trained")
    for number in range(2):
        assert_same_trial(one.read(number), two.read(number))


def test_killed_and_continued(made, kept, tmp_path):
    """SIGKILL when the first trial of the new store is there."""
    out = tmp_path / "out"
    words = ["launchers.evaluate", f"--store={kept}", f"--out_store={out}"]
    words.append(f"--dataset=npz:{made}/other.npz")
    whole = tmp_path / "whole"
    evaluate(kept, f"npz:{made}/other.npz", whole)
    signalled.kill(words, "tfmem.store.store:Store.write")
    assert Store.open(out).numbers() == [0]
    evaluate(kept, f"npz:{made}/other.npz", out)
    assert_same_stores(out, whole, range(6))
    assert not list(out.rglob("*.tmp"))


def test_what_a_store_lacks_is_named(kept, made, tmp_path):
    out, other = tmp_path / "out", f"npz:{made}/other.npz"
    networks = Store.open(kept).networks
    networks.path(2).unlink()
    networks.path(4).unlink()
    done = evaluate(kept, other, out, check=False)
    words = f"{kept} has no network of the trials 2, 4; to train them again with their networks, "
    assert_refused(done, f"{words}run: tfmem train_trials", out)
    assert "--keep_networks --store=ANOTHER_STORE --trials=2:5; --allow_missing" in done.stderr
    done = evaluate(kept, other, out, "--trials=4:8", check=False)
    assert_refused(done, f"{kept} has no trials 6:8; run: tfmem train_trials", out)
    content = networks.path(3).read_bytes()
    networks.path(3).write_bytes(content[:-9])
    done = evaluate(kept, other, out, "--trials=3:4", check=False)
    assert_refused(done, f"{networks.path(3)} is damaged (is not an npz file", out)
    assert "tfmem check_store" in done.stderr
    done = evaluate(kept, other, out, "--trials=3:4", "--allow_missing", check=False)
    assert_refused(done, "no network of", out)
    done = evaluate(kept, other, out, "--allow_missing")
    assert "left out: trials without a network: 2, 4" in done.stdout
    assert f"left out: {networks.path(3)} is damaged" in done.stdout
    assert Store.open(out).numbers() == [0, 1, 5]
    assert done.stdout.splitlines()[-1] == f"3 of 4 trials in {out}"


def test_networks_of_another_model(kept, made, tmp_path, monkeypatch):
    """As a file that says it is this trial's, and is not."""
    store = Store.open(kept)
    trial = store.read(0)
    network = store.networks.read(trial)
    network.weights[2] = network.weights[2][:, :2]
    store.networks.write(trial, network)
    out = tmp_path / "out"
    done = evaluate(kept, f"npz:{made}/other.npz", out, "--trials=0:1", check=False)
    words = "the network of trial 0 is another model's: it has a weight 2 of shape (8, 2), "
    assert_refused(done, f"{words}expected (8, 3)", out)
    network.weights.pop()
    store.networks.write(trial, network)
    done = evaluate(kept, f"npz:{made}/other.npz", out, "--trials=0:1", check=False)
    assert_refused(done, "another model's: it has 3 weights, expected 4", out)
    done = run_program("launchers.check_store", f"--store={kept}", check=False)
    assert "trial-000000.npz is damaged (its weights have other shapes than others)" in done.stdout


def test_a_model_of_ones_own_that_has_changed(made, tmp_path):
    mine, kept = tmp_path / "mine.py", tmp_path / "kept"
    shutil.copy(__file__, mine)
    own = f"--model={mine}:with_batch_norm", "--model_options={}", "--trials=0:1"
    train(kept, f"npz:{made}/first.npz", "--keep_networks", *own)
    with open(mine, "a") as file:
        file.write("\n# Another version.\n")
    done = evaluate(kept, f"npz:{made}/other.npz", tmp_path / "out", check=False)
    words = f"{mine}:with_batch_norm is not what it was when the trials began: restore that"
    assert_refused(done, words, tmp_path / "out")


def test_test_sets_that_do_not_fit(made, tmp_path, rng):
    known, out = f"npz:{made}/first.npz", tmp_path / "out"
    part = examples(rng, 6)
    for name, given, words in (
        (
            "four_classes",
            write(tmp_path / "c.npz", part, examples(rng, 8, classes=4)),
            f"npz:{tmp_path}/c.npz has 4 classes, '3' alone, and {known} has 3 classes: expected",
        ),
        (
            "names",
            write(tmp_path / "n.npz", part, part, class_names=["cat", "dog", "emu"]),
            f"has 3 classes, 'cat', 'dog', 'emu' alone, and {known} has 3 classes, '0', '1', '2' "
            "alone: expected the same names of classes",
        ),
        (
            "shape",
            write(tmp_path / "s.npz", examples(rng, 6, (4, 5)), examples(rng, 6, (4, 5))),
            f"has images of shape (4, 5, 1), and {known} has images of shape (4, 4, 1)",
        ),
        (
            "features",
            write(
                tmp_path / "f.npz",
                *(examples(rng, 6, (4, 4), dtype=np.float32) for _ in range(2)),
            ),
            "has features of shape (4, 4), and",
        ),
        ("absent", f"npz:{tmp_path}/absent.npz", f"{tmp_path}/absent.npz does not exist"),
        ("unknown", "mnits", "unknown dataset 'mnits': did you mean 'mnist'?"),
    ):
        done = evaluate(made / "kept", given, out, check=False)
        assert_refused(done, words, out), name


def test_pixels_of_another_scale(random_subsets, tmp_path, digits):
    store, bright = random_subsets.store.path, digits.test.images
    kept = tmp_path / "kept"
    flags = "--experiment=digits_mlp", "--epochs=1", '--model_options={"hidden": [4]}'
    run_program(
        "launchers.train_trials", *flags, f"--store={kept}", "--trials=0:1", "--keep_networks"
    )
    dark = write(tmp_path / "dark.npz", *[(bright, digits.test.labels)] * 2)
    light = write(tmp_path / "light.npz", *[(bright * 15, digits.test.labels)] * 2)
    done = evaluate(kept, light, tmp_path / "out", check=False)
    words = f"the pixels of {light} go to 255, and those of digits to 16: expected one scale"
    assert_refused(done, words, tmp_path / "out")
    evaluate(kept, dark, tmp_path / "out")
    one, two = (Store.open(path).read(0).test for path in (kept, tmp_path / "out"))
    np.testing.assert_array_equal(one.label_probability, two.label_probability)
    done = evaluate(store, dark, tmp_path / "none", check=False)
    assert_refused(done, "has no network of the trials 0:12; to train", tmp_path / "none")


def test_stores_that_are_no_source_and_no_target(made, imported, tmp_path):
    kept, other = made / "kept", f"npz:{made}/other.npz"
    done = evaluate(kept, other, kept / ".." / "kept", check=False)
    assert_refused(done, "is --store: expected another folder")
    done = evaluate(imported.store.path, other, tmp_path / "out", check=False)
    assert_refused(
        done, "holds imported trials: expected trials on random subsets", tmp_path / "out"
    )
    out = tmp_path / "out"
    evaluate(kept, other, out, "--trials=0:1")
    done = evaluate(out, other, tmp_path / "again", check=False)
    assert_refused(done, "holds trials that were evaluated on another test set", tmp_path / "again")
    done = evaluate(kept, f"npz:{made}/joined.npz", out, "--trials=0:1")
    assert "1 of 1 trials are already in" in done.stdout  # It has the same test split.
    done = evaluate(kept, f"npz:{made}/first.npz", out, check=False)
    assert_refused(done, "dataset fingerprint: ")
    assert "; give another --out_store, or the flags it was made with" in done.stderr


def test_check_store_counts_networks(kept, made):
    def check(*flags, check=True):
        return run_program("launchers.check_store", f"--store={kept}", *flags, check=check)

    networks = Store.open(kept).networks
    size = sum(networks.path(number).stat().length for number in range(6))
    assert check().stdout.splitlines()[2:] == [
        f"6 networks are kept and sound, {size / 1e6:,.1f} MB"
    ]
    path = networks.path(5)
    path.write_bytes(path.read_bytes()[:-9])
    networks.path(1).unlink()
    done = check(check=False)
    assert done.returncode == 1
    assert "6 trials are there and sound" in done.stdout
    assert "4 networks are kept and sound, " in done.stdout
    assert f"{path} is damaged (is not an npz file" in done.stdout
    assert f"to move it aside, run: tfmem check_store --store={kept} --quarantine" in done.stdout
    assert done.stdout.splitlines()[-1] == "trials without a network: 1"
    done = check("--quarantine")
    assert f"moved {path} to {kept}/quarantine/trial-000005.npz" in done.stdout
    assert done.stdout.splitlines()[-1] == "trials without a network: 1, 5"
    assert check().stdout.splitlines()[-1] == "trials without a network: 1, 5"


def test_whether_networks_are_kept_is_noted_in_the_store(kept, made):
    data = f"npz:{made}/first.npz"
    said = train(kept, data, "--trials=0:7").stdout.splitlines()
    assert said[0] == f"{kept} keeps networks: those of these trials too (--nokeep_networks: not)"
    store = Store.open(kept)
    assert store.networks.numbers() == set(range(7))
    assert "--keep_networks" in store.command(0, 1)
    said = train(kept, data, "--trials=0:8", "--nokeep_networks").stdout
    assert "keeps networks" not in said
    assert store.networks.numbers() == set(range(7))
    assert "keep_networks" not in Store.open(kept).command(0, 1)
    said = train(kept, data, "--trials=0:9", "--keep_networks", "--stack=none").stdout
    assert said.splitlines()[0] == "trials that were stored without a network, and stay so: 7"
    assert store.networks.numbers() == {*range(7), 8}
    networks = Store.open(kept).networks
    ways = [networks.read(store.read(number)).stacked for number in (6, 8)]
    assert ways == [True, False]


def test_tables_of_other_columns(tmp_path):
    rows = [f"{i},{-i},{i % 2},{'test' if i > 20 else 'train'}" for i in range(30)]
    for name, head in (("a", "x,y"), ("turned", "y,x"), ("one", "x,id")):
        text = "\n".join([f"{head},label,split", *rows])
        (tmp_path / f"{name}.csv").write_text(text)
    a, turned, one = (f"csv:{tmp_path}/{name}.csv" for name in ("a", "turned", "one"))
    train(tmp_path / "kept", a, "--trials=0:1", "--keep_networks")
    out = tmp_path / "out"
    done = evaluate(tmp_path / "kept", turned, out, check=False)
    assert_refused(done, f"{turned} has the column y where {a} has x: expected the same", out)
    done = evaluate(tmp_path / "kept", one, out, check=False)
    assert_refused(done, f"{one} has 1 columns of features, and {a} 2", out)
