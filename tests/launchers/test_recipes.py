"""The recipes and the sources of data, through the real program, on tiny files of the real form."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import assert_refused, run_program
from tests.interrupting import kill_at_checkpoint
from tests.sources import random_image, write_cifar, write_imagenet_archives, write_picture
from tests.trials import assert_same_trial
from tfmem import datasets, experiments
from tfmem.store.store import Store


def train(*flags, check=True):
    return run_program("launchers.train_trials", *flags, check=check)


def table(text):
    """Returns {field: (value, source)} of what --describe printed."""
    rows = [line.split(None, 2) for line in text.splitlines()[1:] if line.startswith("  ")]
    return {field: (value, source) for field, value, source in rows}


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_every_number_of_a_recipe_has_a_source(name):
    sources = experiments.sources(experiments.get(name))
    # The rest is what another schedule would take, and the seed.
    unnamed = {field for field, source in sources.items() if source == experiments.DEFAULT}
    assert unnamed <= {
        "seed",
        "image_size",
        "warmup_fraction",
        "warmup_epochs",
        "decay_epochs",
        "decay_factor",
        "corrupted_labels",
        "test_share",
        "labels",
        "labels_digest",
        "candidates",
        "candidates_digest",
        "standardize",
        "model_source",
        "initial_weights",
        "optimizer",
        "optimizer_options",
        "l2",
        "label_smoothing",
    }


def test_describe():
    shown = train("--experiment=imagenet_resnet50", "--describe", "--epochs=90").stdout
    rows = table(shown)
    assert rows["epochs"] == ("90", "override")
    assert rows["batch_size"] == ("896", "Sec. B: ImageNet")
    assert rows["decay_epochs"] == ("30,60,90", "Sec. B: 10x decay at epoch 30, 60 and 90")
    assert rows["crop_padding"] == ("32", "Sec. B: random padded (32 pixels) cropping")
    assert "45 h a trial on 8 P100, 720,000 GPU-hours for 2,000 trials" in shown
    rows = table(train("--experiment=cifar100_densenet100", "--describe").stdout)
    assert rows["batch_size"] == ("256", "Sec. B: halved for DenseNet")
    assert rows["base_learning_rate"] == ("0.2", "Sec. B: halved for DenseNet")


@pytest.fixture
def pictures(tmp_path, rng):
    """A folder of 40 training and 10 test images of 6x6 pixels: dark ones and bright ones."""
    for split, count in (("train", 40), ("test", 10)):
        for index in range(count):
            image = random_image(rng, 6, 6, 1) // 4 + 160 * (index % 2)
            kind = ("dark", "bright")[index % 2]
            write_picture(tmp_path / "pictures" / split / kind / f"{index}.png", image)
    return tmp_path / "pictures"


def test_a_folder_of_ones_own(pictures, tmp_path):
    flags = ["--experiment=digits_mlp", "--epochs=8", "--batch_size=8", "--trials=0:3"]
    train(*flags, f"--dataset=folder:{pictures}", f"--store={tmp_path / 'store'}")
    store = Store.open(tmp_path / "store")
    assert store.dataset.class_names == ("bright", "dark")
    assert store.dataset.train.ids[0] == "train/bright/1.png"
    assert all(store.read(number).test_accuracy == 1 for number in range(3))
    # The same pictures in another place are the same dataset.
    shutil.move(pictures, tmp_path / "moved")
    moved = f"--dataset=folder:{tmp_path / 'moved'}"
    said = train(*flags, moved, f"--store={tmp_path / 'store'}").stdout
    assert "3 of 3 trials are already in the store" in said


def test_icons_without_a_second_split(tmp_path):
    """Drawn in alpha alone: all are black, and only on white can they be told apart."""
    icons = tmp_path / "icons"
    for index in range(40):
        icon = np.zeros((6, 6, 4), np.uint8)
        (icon[:, index % 6] if index % 2 else icon[index % 6])[:, 3] = 255
        write_picture(icons / ("across", "down")[index % 2] / "more" / f"{index:02d}.PNG", icon)
    store = f"--store={tmp_path / 'store'}"
    flags = ["--experiment=digits_mlp", "--epochs=30", "--batch_size=8", store]
    flags += [f"--dataset=folder:{icons}"]
    refused = train(*flags, "--trials=0:3", check=False)
    assert refused.returncode == 2
    assert "--test_share=0.2, which holds out a fifth of each class" in refused.stderr
    train(*flags, "--test_share=0.2", "--trials=0:3")
    made = Store.open(tmp_path / "store")
    assert np.bincount(made.dataset.test.labels).tolist() == [4, 4]
    assert made.config.test_share == 0.2
    assert all(made.read(number).test_accuracy >= 0.9 for number in range(3))
    other = train(*flags, "--test_share=0.3", "--trials=0:3", check=False)
    assert other.returncode == 2
    assert "test_share: 0.3 and 0.2" in other.stderr
    # The report finds the same split, and shows what the models saw.
    run_program("analysis.report", store, f"--out={tmp_path / 'report.html'}")
    page = (tmp_path / "report.html").read_text()
    encoded, name = re.search(
        r'<img class="picture" src="data:[^,]*,([^"]*)" alt="training example ([^,]*),', page
    ).groups()
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))
    train_split = datasets.load_for(made.config).train
    np.testing.assert_array_equal(shown, train_split.images[train_split.ids == name][0])
    assert sorted(np.unique(shown)) == [0, 255]


def test_an_npz_of_ones_own_in_mixed_precision_with_logs(digits, tmp_path):
    np.savez(
        tmp_path / "digits.npz",
        x_train=digits.train.images * 15,
        y_train=digits.train.labels,
        x_test=digits.test.images * 15,
        y_test=digits.test.labels,
    )
    flags = ["--experiment=digits_mlp", "--epochs=6", f"--dataset=npz:{tmp_path / 'digits.npz'}"]
    flags += ["--precision=mixed_bfloat16", "--flip=false", "--image_size=10", "--trials=0:1"]
    train(
        *flags,
        "--stack=none",
        "--xla",
        f"--tensorboard={tmp_path / 'logs'}",
        f"--store={tmp_path / 'store'}",
    )
    store = Store.open(tmp_path / "store")
    assert (store.config.precision, store.config.image_size) == ("mixed_bfloat16", 10)
    assert store.read(0).test_accuracy > 0.9
    assert "--precision=mixed_bfloat16" in store.command()
    found = {}
    for path in (tmp_path / "logs" / "trial-000000").rglob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(float(tf.make_ndarray(value.tensor)))
    assert len(found["epoch_loss"]) == 6
    assert found["epoch_loss"][-1] < found["epoch_loss"][0]
    assert 0.9 < found["epoch_accuracy"][-1] <= 1
    # After 14 of 84 steps, 12.6 of which warm up: 0.1 * (84 - 14) / (84 - 12.6).
    assert found["epoch_learning_rate"][0] == pytest.approx(0.1 * 70 / 71.4, rel=1e-3)


@pytest.mark.slow
def test_any_network_goes_with_any_dataset(tmp_path):
    flags = ["--experiment=digits_mlp", "--model=cct", "--epochs=1", "--trials=0:1"]
    train(*flags, '--model_options={"variant": "2/3x2"}', f"--store={tmp_path}")
    config = Store.open(tmp_path).config
    assert (config.model, config.model_options) == ("cct", {"variant": "2/3x2"})
    assert '--model_options={"variant": "2/3x2"}' in Store.open(tmp_path).command().replace("'", "")


@pytest.fixture(scope="module")
def imagenet_dir(tmp_path_factory):
    """ImageNet's archives, tiny, where TFDS looks for them; the program prepares them."""
    folder = tmp_path_factory.mktemp("imagenet")
    write_imagenet_archives(folder / "downloads" / "manual", per_class=25)
    return folder


IMAGENET = ["--experiment=imagenet_resnet50", "--epochs=2", "--batch_size=16", "--trials=0:1"]


def imagenet_flags(folder, store, *others):
    return [*IMAGENET, f"--data_dir={folder}", f"--store={store}", *others]


# A network small enough for a test.
SMALL = ["--model=mlp", "--image_size=32", "--base_learning_rate=0.01"]


@pytest.fixture(scope="module")
def streamed(imagenet_dir, tmp_path_factory):
    """A trial on ImageNet, the whole way from the archives to the store."""
    path = tmp_path_factory.mktemp("streamed")
    train(*imagenet_flags(imagenet_dir, path, *SMALL))
    return Store.open(path).read(0)


def test_imagenet_is_streamed(streamed):
    assert (len(streamed.train.correct), len(streamed.test.correct)) == (75, 10)
    assert streamed.subset.sum() == 52


@pytest.mark.slow
def test_imagenet_continues_where_it_was_killed(imagenet_dir, streamed, tmp_path):
    path = tmp_path / "killed"
    flags = imagenet_flags(imagenet_dir, path, *SMALL, "--checkpoint_seconds=0")
    kill_at_checkpoint(["launchers.train_trials", *flags], 0)
    assert (path / "checkpoints" / "trial-000000" / "state.npz").exists()
    store = Store.open(path)
    assert store.numbers() == []
    train(*flags)
    assert_same_trial(store.read(0), streamed)
    assert not (path / "checkpoints").exists()


@pytest.mark.slow
def test_the_imagenet_recipe_runs(imagenet_dir, tmp_path):
    train(*imagenet_flags(imagenet_dir, tmp_path, "--image_size=64"))
    assert len(Store.open(tmp_path).read(0).test.predicted) == 10


@pytest.mark.slow
def test_vgg11_follows_images_of_cifar10s_shape(tmp_path, rng):
    """Figs. 5 c and d, 6, 8 and 10 of Liu et al. on 24 made-up images, with every program."""
    write_cifar(tmp_path / "data", "cifar10", rng, count=24)
    flags = ["--experiment=cifar10_vgg11", "--epochs=2", "--batch_size=8", "--decay_epochs=1"]
    flags += [f"--data_dir={tmp_path / 'data'}"]
    turnover, dynamics = tmp_path / "turnover", tmp_path / "dynamics"
    run_program("launchers.train_turnover", *flags, f"--store={turnover}", "--test_examples")
    scores = f"--out={tmp_path / 'scores.npz'}"
    figures = [f"--figures={tmp_path / 'figures'}", "--formats=png", flags[-1]]
    said = run_program("analysis.turnover", f"--store={turnover}", scores, *figures).stdout
    assert "8 test examples" in said
    assert (tmp_path / "figures" / "fig7-high.png").exists()
    flags += ["--conditions=easy,difficult", "--gradient_batches=1", f"--store={dynamics}"]
    run_program("launchers.train_dynamics", *flags, f"--scores={tmp_path / 'scores.npz'}")
    store = Store.open(dynamics)
    assert store.numbers() == [0, 1]
    # One in six of 24; both have a gradient each of whose pairs has a cosine in [-1, 1].
    for number, group in ((0, 1), (1, 2)):
        trial = store.read(number)
        assert trial.subset.sum() == 4
        first = trial.epochs[0]  # Later, gradients of four memorized images may be exactly 0.
        assert first["gradients"][[0, group]].tolist() == [4, 4]
        assert -1 <= first["similarity"][group] <= 1
        assert first["contribution"][0] == pytest.approx(first["contribution"][group])
        assert list(trial.epochs) == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in experiments.EXPERIMENTS if name.startswith("cifar")]
)
def test_the_cifar_recipes_run(name, tmp_path, rng):
    config = experiments.get(name)
    write_cifar(tmp_path / "data", config.dataset, rng, count=24)
    program = "train_last_layer" if name in experiments.NETWORK_OF else "train_trials"
    flags = [f"--experiment={name}", "--epochs=1", "--batch_size=8", "--trials=0:1"]
    flags += ["--network_epochs=1"] if program == "train_last_layer" else []
    places = [f"--data_dir={tmp_path / 'data'}", f"--store={tmp_path / 'store'}"]
    run_program(f"launchers.{program}", *flags, *places)
    store = Store.open(tmp_path / "store")
    trial = store.read(0)
    assert (trial.subset.sum(), len(trial.test.correct)) == (17, 8)
    assert store.dataset.num_classes == {"cifar10": 10, "cifar100": 100}[config.dataset]
    about = json.loads((tmp_path / "store" / "experiment.json").read_text())
    assert about["config"]["kind"] in ("experiment", "last_layer")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model=rsnet50"], "unknown model 'rsnet50': did you mean 'resnet50'? the known ones"),
        (["--model_options={hidden: 3}"], "--model_options={hidden: 3} is not JSON"),
        (["--model_options=3"], "expected a JSON object of names and values"),
        (["--schedule=warmup_steps"], "decay_factor is 0.0, expected in (0, 1)"),
        (["--warmup_epochs=3"], "expected none: the warmup_linear schedule has no warm-up over ep"),
        (["--decay_epochs=a,b"], "--decay_epochs=a,b: expected epochs like 30,60,90"),
        (
            ['--optimizer_options={"nestrov": true}'],
            "no argument 'nestrov', only nesterov, clipnorm",
        ),
        (
            ["--engine=ray", '--optimizer_options={"nestrov": true}'],
            "no argument 'nestrov', only nesterov, clipnorm",
        ),
        (["--crop=padded"], "crop_padding is 0, expected at least 1"),
        (["--crop_padding=3"], "crop_padding is 3, expected 0 with crop none"),
        (["--precision=float16"], "value should be one of <float32|mixed_bfloat16|mixed_float16>"),
        (["--image_size=0"], "image_size is 0, expected at least 1"),
        (["--dataset=folder:"], "dataset 'folder:' lacks its PATH"),
        (["--dataset=folder:nowhere"], "nowhere is not a folder; expected "),
        (["--dataset=npz:nowhere.npz"], "nowhere.npz does not exist"),
        (["--dataset=imagenet2012", "--data_dir={}"], "ILSVRC2012_img_train.tar"),
        (["--checkpoint_seconds=-1"], "checkpoint_seconds"),
    ],
)
def test_bad_input_gets_one_line_and_no_store(flags, words, tmp_path):
    flags = [
        flag.replace("{}", str(tmp_path)) if flag.startswith("--data") else flag for flag in flags
    ]
    done = train("--experiment=digits_mlp", *flags, f"--store={tmp_path / 'store'}", check=False)
    assert_refused(done, words, tmp_path / "store")
