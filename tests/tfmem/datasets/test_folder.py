"""Folders of images."""

import numpy as np
import pytest
from PIL import Image

from tests.sources import random_image, write_picture
from tfmem import datasets
from tfmem.datasets import images

ORIENTATION = 0x112  # Of EXIF.


@pytest.fixture
def pictures(tmp_path, rng):
    """(folder, {id: pixels}) of 2 classes, grey, 4x6; the test split has one class."""
    written = {
        name: random_image(rng, 4, 6, 1)
        for name in (
            "train/cat/b.png",
            "train/cat/a.PNG",
            "train/ant/z.bmp",
            "train/ant/10.png",
            "test/cat/c.png",
        )
    }
    for name, pixels in written.items():
        write_picture(tmp_path / name, pixels)
    (tmp_path / "train/cat/notes.txt").write_text("not an image")
    (tmp_path / "train/cat/.hidden.png").write_text("not an image")
    (tmp_path / "train/.cache").mkdir()
    return tmp_path, written


def test_folder(pictures):
    folder, written = pictures
    dataset = datasets.load(f"folder:{folder}")
    assert dataset.name == f"folder:{folder}"
    assert not datasets.needs_download(dataset.name)
    assert dataset.class_names == ("ant", "cat")
    assert dataset.pixel_max == 255
    assert dataset.input_shape == (4, 6, 1)
    assert dataset.train.ids.tolist() == [
        *("train/ant/10.png", "train/ant/z.bmp"),
        *("train/cat/a.PNG", "train/cat/b.png"),
    ]
    assert dataset.train.labels.tolist() == [0, 0, 1, 1]
    assert dataset.test.ids.tolist() == ["test/cat/c.png"]
    assert dataset.test.labels.tolist() == [1]
    for split in (dataset.train, dataset.test):
        np.testing.assert_array_equal(split.images, [written[name] for name in split.ids])


def test_folder_fingerprint_does_not_depend_on_the_place(pictures):
    folder, _ = pictures
    before = datasets.load(f"folder:{folder}").fingerprint
    moved = folder.rename(folder.with_name(folder.name + "_moved"))
    assert datasets.load(f"folder:{moved}").fingerprint == before


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_one_colour_image_makes_all_colour(pictures, mode):
    folder, written = pictures
    red = np.full((4, 6, 3), (255, 0, 0), np.uint8)
    write_picture(folder / "test/ant/red.png", red, mode)
    dataset = datasets.load(f"folder:{folder}")
    assert dataset.input_shape == (4, 6, 3)
    np.testing.assert_array_equal(dataset.test.images[0], red)
    np.testing.assert_array_equal(
        dataset.train.images, [np.repeat(written[name], 3, axis=-1) for name in dataset.train.ids]
    )


def test_alpha_is_laid_on_white(pictures):
    folder, written = pictures
    grey = written["train/cat/b.png"]
    faint = np.concatenate([grey, np.full_like(grey, 51)], axis=-1)
    Image.fromarray(faint, "LA").save(folder / "train/cat/b.png")
    dataset = datasets.load(f"folder:{folder}")
    assert dataset.input_shape == (4, 6, 1)
    expected = np.round(0.2 * grey + 0.8 * 255)
    assert np.abs(dataset.train.images[3] - expected).max() <= 1


def test_icons_drawn_in_alpha_differ(tmp_path):
    # Black everywhere: the drawing is in alpha alone.
    for index, name in enumerate(["train/a/0", "train/b/0", "test/a/0"]):
        icon = np.zeros((4, 4, 4), np.uint8)
        icon[:, index, 3] = 255
        write_picture(tmp_path / f"{name}.png", icon)
    dataset = datasets.load(f"folder:{tmp_path}")
    expected = np.full((2, 4, 4, 3), 255)
    expected[0, :, 0], expected[1, :, 1] = 0, 0
    np.testing.assert_array_equal(dataset.train.images, expected)


def test_photographs_are_upright_also_where_sizes_are_compared(pictures):
    folder, written = pictures
    lying = Image.fromarray(np.rot90(written["train/cat/b.png"][..., 0]))
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # Turned a quarter to the left: to be turned to the right.
    lying.save(folder / "train/cat/b.png", exif=exif)
    dataset = datasets.load(f"folder:{folder}")
    np.testing.assert_array_equal(dataset.train.images[3], written["train/cat/b.png"])


def test_all_that_pillow_reads_at_any_depth(pictures, rng, caplog):
    folder, _ = pictures
    pixels = random_image(rng, 4, 6, 1)
    (folder / "train/cat/deep/deeper").mkdir(parents=True)
    (folder / "train/cat/deep/loop").symlink_to(folder / "train/cat", target_is_directory=True)
    (folder / "train/ant/lost").symlink_to(folder / "nowhere")
    (folder / "extra").mkdir()
    image = Image.fromarray(pixels[..., 0])
    image.save(folder / "train/cat/deep/x.JFIF", "PNG")  # Content tells, not the name.
    image.save(folder / "train/cat/deep/deeper/x.tga")
    image.save(folder / "train/ant/no suffix", "PNG")
    image.save(folder / "test/ANYWHERE.png")
    for index in range(4):
        (folder / f"train/cat/deep/{index}.csv").write_text("1,2,3")
    (folder / "train/cat/film.mpg").write_bytes(b"\x00\x00\x01\xb3\x01\x00\x10\x13")
    train = datasets.load(f"folder:{folder}").train
    assert train.ids.tolist() == [
        *("train/ant/10.png", "train/ant/no suffix", "train/ant/z.bmp", "train/cat/a.PNG"),
        *("train/cat/b.png", "train/cat/deep/deeper/x.tga", "train/cat/deep/x.JFIF"),
    ]
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    np.testing.assert_array_equal(train.images[[1, 5, 6]], [pixels] * 3)
    assert caplog.messages == [
        f"{folder}: left out: 7 files that are no images (train/ant/lost, train/cat/deep/0.csv, "
        "train/cat/deep/1.csv, ...), 1 file that lies in no class (test/ANYWHERE.png), "
        "1 folder that is no split (extra)"
    ]


def test_nothing_is_said_where_nothing_is_left_out(pictures, caplog):
    folder, _ = pictures
    (folder / "train/cat/notes.txt").unlink()
    datasets.load(f"folder:{folder}")
    assert not caplog.messages


def test_an_empty_class_of_the_second_split(pictures):
    folder, _ = pictures
    before = datasets.load(f"folder:{folder}")
    (folder / "test/ant").mkdir()
    assert datasets.load(f"folder:{folder}").fingerprint == before.fingerprint


@pytest.mark.parametrize("name", ["val", "valid", "validation", "testing", "Test"])
def test_names_of_the_second_split(pictures, name, caplog):
    folder, written = pictures
    (folder / "train/cat/notes.txt").unlink()
    (folder / "test").rename(folder / name)
    (folder / "train").rename(folder / "Train")
    dataset = datasets.load(f"folder:{folder}")
    assert dataset.train.ids[0] == "Train/ant/10.png"
    assert dataset.test.ids.tolist() == [f"{name}/cat/c.png"]
    np.testing.assert_array_equal(dataset.test.images, [written["test/cat/c.png"]])
    assert not caplog.messages


def test_of_two_second_splits_test_is_the_one(pictures, caplog):
    folder, _ = pictures
    (folder / "val/cat").mkdir(parents=True)
    assert datasets.load(f"folder:{folder}").test.ids.tolist() == ["test/cat/c.png"]
    assert "1 folder that is no split (val)" in caplog.text


@pytest.mark.parametrize("inside", ["", "train/"])
def test_a_folder_without_a_second_split(tmp_path, rng, inside):
    count = {"ant": 10, "bee": 5, "cat": 1}
    for name, number in count.items():
        for index in range(number):
            place = tmp_path / f"{inside}{name}/{index}.png"
            write_picture(place, np.full((2, 2, 1), 20 * index + len(name), np.uint8))
    with pytest.raises(ValueError, match=r"has no folders? .*test; expected .*--test_share=0.2"):
        datasets.load(f"folder:{tmp_path}")
    dataset = datasets.load(f"folder:{tmp_path}", test_share=0.2)
    assert dataset.class_names == ("ant", "bee", "cat")
    assert np.bincount(dataset.train.labels).tolist() == [8, 4, 1]
    assert np.bincount(dataset.test.labels).tolist() == [2, 1]
    ids = sorted(f"{inside}{name}/{i}.png" for name in count for i in range(count[name]))
    assert sorted([*dataset.train.ids, *dataset.test.ids]) == ids
    for split in (dataset.train, dataset.test):
        assert list(split.ids) == sorted(split.ids)
        expected = [20 * int(name[-5]) + 3 for name in split.ids]
        np.testing.assert_array_equal(split.images[:, 0, 0, 0], expected)
    again = datasets.load(f"folder:{tmp_path}", test_share=0.2)
    assert again.fingerprint == dataset.fingerprint
    other = datasets.load(f"folder:{tmp_path}", test_share=0.3)
    assert other.fingerprint != dataset.fingerprint


def test_a_second_split_is_not_made_where_there_is_one(pictures):
    folder, _ = pictures
    with pytest.raises(ValueError, match=r"has the folder test: --test_share=0.2 is for folders"):
        datasets.load(f"folder:{folder}", test_share=0.2)


def test_all_bad_images_are_listed(pictures):
    folder, _ = pictures
    for index in range(12):
        (folder / f"train/cat/c{index:02d}.png").write_text("no")
    Image.fromarray(np.zeros((4, 6), np.uint16)).save(folder / "train/ant/11.png")
    message = (
        rf"^{folder}: 13 of 18 images will not do: .*ant/11.png has more than 8 bits .*; .*c00.png "
        r"cannot be read as an image .*c08.png cannot be read as an image \([^;]*\); and 3 more$"
    )
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load(f"folder:{folder}")
    assert "c09" not in str(caught.value)


def test_folder_with_image_size(pictures, rng):
    folder, written = pictures
    large = random_image(rng, 9, 5, 1)
    write_picture(folder / "test/ant/large.png", large)
    dataset = datasets.load(f"folder:{folder}", image_size=4)
    assert dataset.input_shape == (4, 4, 1)
    np.testing.assert_array_equal(dataset.train.images[2], written["train/cat/a.PNG"][:, 1:5])
    np.testing.assert_array_equal(dataset.test.images[0], images.square(large[2:7], 4))


def remove(path):
    for below in sorted(path.rglob("*"), reverse=True):
        below.rmdir() if below.is_dir() else below.unlink()
    path.rmdir()


def only_text(folder):
    for path in folder.iterdir():
        path.unlink()
    (folder / "a.txt").touch()


FOLDER_ERRORS = {
    "absent": (remove, "is not a folder; expected .*/train/CLASS/IMAGE"),
    "no train": (
        lambda f: remove(f / "train"),
        "has no folder train; expected .*train/CLASS/IM",
    ),
    "no test": (lambda f: remove(f / "test"), "has no folder test; expected .*test/CLASS/IMAGE"),
    "no classes": (
        lambda f: (remove(f / "train/ant"), remove(f / "train/cat")),
        "train has no classes; expected one folder of images a class",
    ),
    "new class": (
        lambda f: (f / "test/dog").mkdir(),
        "test has the class 'dog', which .*train lacks",
    ),
    "empty class": (lambda f: (f / "train/dog").mkdir(), "train/dog has no images; expected files"),
    "no images": (lambda f: only_text(f / "test/cat"), "/test has no images; expected files"),
    "no image": (
        lambda f: (f / "train/cat/a.PNG").write_text("no"),
        "train/cat/a.PNG cannot be read as an image",
    ),
    "half an image": (
        lambda f: (f / "test/cat/c.png").write_bytes((f / "test/cat/c.png").read_bytes()[:60]),
        "test/cat/c.png cannot be read as an image",
    ),
    "16 bits": (
        lambda f: Image.fromarray(np.zeros((4, 6), np.uint16)).save(f / "train/ant/10.png"),
        r"10.png has more than 8 bits a channel \(Pillow mode I;16\): convert it",
    ),
    "name of other letters": (
        lambda f: (f / "test/cat/c.png").rename(f / "test/cat/c\udcff.png"),
        r"the file name 'test/cat/c\\udcff.png' is not UTF-8: rename it",
    ),
    "sizes": (
        lambda f: Image.fromarray(np.zeros((3, 5), np.uint8)).save(f / "test/cat/d.png"),
        "train/ant/10.png is 4 x 6 .*test/cat/d.png is 3 x 5: give --image_size",
    ),
}


@pytest.mark.parametrize("case", FOLDER_ERRORS)
def test_folder_that_will_not_do(pictures, case):
    spoil, message = FOLDER_ERRORS[case]
    spoil(pictures[0])
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load(f"folder:{pictures[0]}")
    assert "\n" not in str(caught.value)
