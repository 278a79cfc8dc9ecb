"""Many trials in one file: its format, damaged in every way."""

import dataclasses
import itertools
import pathlib

import numpy as np
import pytest
from etils import epath
from hypothesis import given
from hypothesis import strategies as st

from tests.archived import (
    assert_holds,
    assert_same,
    compact,
    compacted,
    damage,
    files,
    found,
    the_archive,
)
from tests.trials import random_trial
from tfmem import words
from tfmem.config import ImportConfig
from tfmem.disk import atomic, tfrecord
from tfmem.store import archives
from tfmem.store.archives import Content
from tfmem.store.errors import StoreError
from tfmem.store.store import Store
from tfmem.workers import compaction

INDEX = ("trial", "offset", "size")


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def test_archives_are_read_as_files_are(fill, six_trials):
    path = fill().path
    before = Store.open(path).load()
    done = compact(path)
    assert (done.trials, done.files, len(done.archives), done.damaged) == (6, 6, 1, {})
    assert files(path / "trials") == {}
    assert_holds(path, six_trials)
    after = Store.open(path).load()
    for name in ("subset", "train_correct", "test_correct"):
        np.testing.assert_array_equal(
            getattr(after, name).columns(), getattr(before, name).columns()
        )
    with pytest.raises(StoreError, match=r"trial 6 is not in .*--trials=6:7"):
        Store.open(path).read(6)


def test_the_format(fill):
    """TensorFlow reads it as any TFRecord file; a range of it is a trial's own file."""
    import tensorflow as tf

    opened = fill()
    alone = [pathlib.Path(opened.trial_path(number)).read_bytes() for number in range(6)]
    compact(opened.path)
    path = the_archive(opened)
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    index = tf.train.Example.FromString(records[0]).features.feature
    assert index["record"].bytes_list.value[:] == [b"index"]
    columns = [list(index[name].int64_list.value) for name in INDEX]
    assert columns[0] == list(range(6))
    content = path.read_bytes()[16 + len(records[0]) :]
    for (_, offset, size), own in zip(zip(*columns, strict=True), alone, strict=True):
        assert content[offset : offset + size] == own
    assert records[1:] == [record for own in alone for record in tfrecord.decode(own)]
    names = [
        tf.train.Example.FromString(record).features.feature["record"].bytes_list.value[0]
        for record in records
    ]
    assert names[:7] == [b"index", b"trial", b"train", b"test", b"trial", b"train", b"test"]


def test_equal_contents_are_equal_files_and_different_ones_have_different_names(
    fill, six_trials, tiny, rng
):
    compact(fill(range(6), "a").path, max_bytes=0)
    compact(fill(range(3), "b").path, max_bytes=0)
    compact(fill(range(3, 6), "b").path, max_bytes=0)
    first, second = (files(fill([], name).archive_folder) for name in "ab")
    assert first == second
    starts = [name.split(".")[0] for name in sorted(first)]
    assert starts == [f"trials-00000{number}-00000{number}" for number in range(6)]
    six_trials[0] = random_trial(0, tiny, rng)
    compact(fill([0], "c").path)
    assert the_archive(fill([], "c")).name not in first


CONTENTS = st.lists(st.integers(1, 5000), min_size=1, max_size=20).map(
    lambda sizes: [Content(3 * k, size, size % 7) for k, size in enumerate(sizes)]
)


@given(CONTENTS, st.floats(0, 20_000))
def test_groups_are_as_large_as_they_may_be(contents, max_bytes):
    groups = list(archives.groups(contents, max_bytes))
    assert [content for group in groups for content in group] == contents
    for group in groups:
        size = len(archives.encode_index(group)) + sum(content.size for content in group)
        assert size <= max_bytes or len(group) == 1
    for group, after in itertools.pairwise(groups):
        assert sum(content.size for content in [*group, after[0]]) > max_bytes - 200 - 27 * 21


@given(CONTENTS)
def test_no_index_is_larger_than_groups_suppose(contents):
    last = 2**63 - 1 - len(contents)
    contents = [dataclasses.replace(content, trial=last + k) for k, content in enumerate(contents)]
    assert len(archives.encode_index(contents)) <= 200 + 27 * len(contents)


def two_trials(fill):
    """Returns a store whose trials 2 and 3 are in an archive, its path, content and parts."""
    opened = fill([2, 3])
    path = the_archive(compacted(opened))
    return opened, path, path.read_bytes(), archives.inspect(epath.Path(path)).parts


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_every_single_byte_change_is_found_and_costs_one_trial_at_most(fill, six_trials, rng, step):
    """But for the length of the index: without it, nothing behind it is reached."""
    opened, path, content, parts = two_trials(fill)
    some = {number: six_trials[number] for number in (2, 3)}
    for position in range(0, len(content), step):
        changed = bytearray(content)
        changed[position] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        right, damaged, problems = found(opened, some)
        if position < parts[2].position:  # The index.
            is_length = position < tfrecord.HEADER_BYTES
            assert right == (set() if is_length else {2, 3})
            (problem,) = problems
            assert f"{path} is damaged" in problem.what
            was_found = "0 trials are found in it, 2:4 not reached"
            assert problem.what.endswith(was_found if is_length else "2 trials are found in it")
            assert "--quarantine" in problem.mend
        else:
            hit = 2 if position < parts[3].position else 3
            assert damaged == {hit}
            assert right == {2, 3} - {hit}
            assert problems == []


def test_every_truncation_is_found_and_costs_what_is_cut_off(fill, six_trials):
    opened, path, content, parts = two_trials(fill)
    some = {number: six_trials[number] for number in (2, 3)}
    for length in range(len(content)):
        path.write_bytes(content[:length])
        right, damaged, problems = found(opened, some)
        assert right == {k for k in some if parts[k].position + parts[k].size <= length}
        assert damaged == set()
        (problem,) = problems
        reached = max(right, default=1)
        lost = f", {words.runs(range(reached + 1, 4))} not reached"
        assert problem.what.endswith(lost) == (reached < 3)
    path.write_bytes(content + b"\0")
    right, damaged, problems = found(opened, some)
    assert (right, damaged, len(problems)) == ({2, 3}, set(), 1)


def test_without_an_index_records_are_read_in_order_up_to_the_first_that_is_broken(
    fill, six_trials, rng
):
    """A trial that is not whole is none, also one that is followed and lacks epochs."""
    opened = fill(range(6))
    path = the_archive(compacted(opened))
    content = path.read_bytes()
    parts = archives.inspect(epath.Path(path)).parts
    alone = [content[part.position : part.position + part.size] for part in parts.values()]
    index = bytearray(content[: parts[0].position])
    index[20] ^= 1
    path.write_bytes(bytes(index) + b"".join(alone))
    assert found(opened, six_trials)[:2] == (set(range(6)), set())
    for broken in (alone[5][:40], bytes(40), rng.bytes(300)):
        path.write_bytes(bytes(index) + b"".join(alone[:4]) + broken + alone[4] + alone[5])
        right, damaged, problems = found(opened, six_trials)
        assert (right, damaged) == ({0, 1, 2, 3}, set())
        assert "4 trials are found in it, 4:6 not reached" in problems[0].what
    path.write_bytes(bytes(index) + alone[0] + alone[3][:-40])
    assert found(opened, six_trials)[:2] == ({0}, {3})
    # Nor is what has been put between trials part of one.
    path.write_bytes(bytes(index) + alone[0] + tfrecord.encode([b"no example"]) + alone[1])
    assert found(opened, six_trials)[:2] == ({1}, {0})


def index_of(columns):
    """Returns the index record of columns that are lists of numbers, or of bytes."""
    columns = {
        name: values if bytes in map(type, values) else np.array(values, type(values[0]))
        for name, values in columns.items()
    }
    return tfrecord.encode([tfrecord.encode_example({"record": b"index"} | columns)])


def test_what_an_index_says_is_not_believed(fill, six_trials, tmp_path):
    """No trial is read where it is not, and nothing is written outside of the store."""
    opened = fill([0, 1])
    path = the_archive(compacted(opened))
    content = path.read_bytes()
    (index,) = tfrecord.decode(content[: archives.inspect(epath.Path(path)).parts[0].position])
    right = tfrecord.decode_example(index)
    right = {name: right[name].tolist() for name in INDEX}
    body = content[16 + len(index) :]
    first, second = right["size"]
    some = {number: six_trials[number] for number in (0, 1)}
    for change in (
        {"trial": [-1, 0]},
        {"trial": [-(2**63), 1]},
        {"trial": [0, 0]},
        {"trial": [1, 0]},
        {"trial": [0]},
        {"trial": [0, 1, 2]},
        {"trial": [0.0, 1.0]},
        {"trial": [b"../../0", b"1"]},
        {"offset": [0, first - 1]},
        {"offset": [0, first + 1]},
        {"offset": [-8, first]},
        {"offset": [first, 0]},
        {"offset": [0, 2**62]},
        {"size": [0, first + second]},
        {"size": [first, -second]},
    ):
        path.write_bytes(index_of(right | change) + body)
        read, damaged, problems = found(opened, some)
        assert (read, damaged, len(problems)) == ({0, 1}, set(), 1), change
    # In itself it is right, but the file is longer or shorter.
    for size, expected in (
        ([first, second - 1], ({0}, {1})),
        ([first, second + 1], ({0}, set())),
        ([first, 2**63 - 1], ({0}, set())),
        ([2**63 - 1, 2**63 - 1], (set(), set())),
    ):
        path.write_bytes(index_of(right | {"size": size, "offset": [0, size[0]]}) + body)
        read, damaged, problems = found(opened, some)
        assert (read, damaged, len(problems)) == (*expected, 1), size
    for name in INDEX:
        path.write_bytes(index_of({k: v for k, v in right.items() if k != name}) + body)
        assert found(opened, some)[0] == {0, 1}
    # One that fits, but says of trial 0 that it is another, or where a part of it is.
    for change in ({"trial": [1, 2]}, {"trial": [0, 2**63 - 1]}):
        path.write_bytes(index_of(right | change) + body)
        opened = Store.open(path.parent.parent)
        assert sorted(opened.damaged(opened.numbers())) == sorted(set(change["trial"]) - {0})
    everything = {str(entry) for entry in tmp_path.rglob("*")}
    opened = Store.open(path.parent.parent)
    compaction.quarantine(opened, opened.damaged(opened.numbers()))
    compact(opened.path)
    for new in {str(entry) for entry in tmp_path.rglob("*")} - everything:
        assert new.startswith((str(opened.archive_folder), str(opened.path / "quarantine")))
    assert_holds(opened.path, {0: six_trials[0]})


def test_a_trial_in_two_places_is_read_from_its_own_file(fill, six_trials, tiny, rng):
    opened = compacted(fill())
    path = the_archive(opened)
    damage(path, 4)
    opened = Store.open(opened.path)
    assert list(opened.damaged(range(6))) == [4]
    elsewhere = Store.open(opened.path)
    assert elsewhere.numbers() == list(range(6))
    # A sound trial counts as there, a damaged one does not.
    assert not opened.write(random_trial(2, tiny, rng))
    assert not opened.trial_path(2).exists()
    again = six_trials[4] = random_trial(4, tiny, rng)
    assert opened.write(again)
    for knew_where_it_was in (opened, elsewhere):
        assert_same(knew_where_it_was.read(4), again)
    assert_holds(opened.path, six_trials)
    assert not opened.write(random_trial(4, tiny, rng))
    # A damaged file hides the sound trial that an archive has, until it is moved aside.
    whole = opened.trial_path(2)
    whole.write_bytes(b"damaged")
    fresh = Store.open(opened.path)
    assert list(fresh.damaged(fresh.numbers())) == [2]
    assert "trial-000002.tfrecord is damaged" in fresh.damaged([2])[2].what
    assert fresh.write(six_trials[2])
    assert_holds(opened.path, six_trials)
    # The damaged version in the first archive does not win over the one in the next.
    done = compact(opened.path)
    assert (done.trials, done.files, done.damaged) == (1, 2, {})
    assert len(files(opened.path / "archives")) == 2
    assert files(opened.path / "trials") == {}
    for knew_where_it_was in (opened, elsewhere):
        assert_same(knew_where_it_was.read(4), again)
    assert_holds(opened.path, six_trials)


def test_of_several_archives_the_first_sound_one_is_read(fill, six_trials, tiny, rng):
    opened = compacted(fill([0, 1, 2]))
    other = the_archive(compacted(fill(range(6), "larger")))
    damage(other, 1)
    (opened.archive_folder / other.name).write_bytes(other.read_bytes()[:-1])
    assert found(opened, six_trials)[:2] == ({0, 1, 2, 3, 4}, set())
    # By name, whichever came first.
    names = []
    for number, folder in ((0, "one"), (0, "two"), (0, "three")):
        six_trials[number] = random_trial(number, tiny, rng)
        made = compacted(fill([number], folder))
        names.append((the_archive(made).name, six_trials[number]))
        copied = fill([], "all").archive_folder
        copied.mkdir(exist_ok=True)
        (copied / names[-1][0]).write_bytes(the_archive(made).read_bytes())
        (first, trial), *_ = sorted(names, key=lambda pair: pair[0])
        assert_same(Store.open(copied.parent).read(0), trial)
    damage(copied / first, 0)
    assert_same(Store.open(copied.parent).read(0), sorted(names, key=lambda pair: pair[0])[1][1])


def test_readers_find_what_is_merged_while_they_read(fill, six_trials):
    """Whatever an object knew of where trials are."""
    path = fill().path
    readers = [Store.open(path) for _ in range(3)]
    readers[0].numbers()
    readers[1].read(2)
    compact(path)
    for reader in readers:
        assert_same(reader.read(5), six_trials[5])
        np.testing.assert_array_equal(reader.load(range(6)).numbers, range(6))
        assert reader.damaged(range(6)) == {}
    # Then the archive is moved, and what was sound in it is in another one.
    (archive,) = Store.open(path).archive_folder.iterdir()
    archive.write_bytes(archive.read_bytes() + b"end")
    compaction.quarantine(Store.open(path), [])
    for reader in readers:
        assert_same(reader.read(5), six_trials[5])
        assert reader.damaged(range(6)) == {}
    path = fill(range(6), "other").path
    Store.open(path).load(on_trial=lambda trial: compact(path, 0) if trial == 2 else None)
    assert len(files(path / "archives")) == 6


def test_a_trial_that_moves_while_files_are_listed_is_not_missed(fill, monkeypatch):
    path = fill().path
    list_names = atomic.names
    steps = iter([None, lambda: compact(path, 0), None])

    def names(folder):
        step = next(steps, None) if folder.name in ("trials", "archives") else None
        if step:
            monkeypatch.setattr(atomic, "names", list_names)
            step()
            monkeypatch.setattr(atomic, "names", names)
        return list_names(folder)

    opened = Store.open(path)
    monkeypatch.setattr(atomic, "names", names)
    assert opened.numbers() == list(range(6))
    assert next(steps, "all taken") == "all taken"


def test_a_store_without_predictions(tmp_path, tiny, rng):
    made = Store.create(tmp_path, ImportConfig("arrays", "x", "", "", 2), tiny)
    kept = {
        number: dataclasses.replace(random_trial(number, tiny, rng, False), base_seed=None)
        for number in (0, 1_234_567)
    }
    for trial in kept.values():
        made.write(trial)
    compact(tmp_path)
    assert the_archive(made).name.startswith("trials-000000-1234567.")
    assert_holds(tmp_path, kept)
