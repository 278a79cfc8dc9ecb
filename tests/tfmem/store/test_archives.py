"""Many trials in one file: its format, damaged in every way, and merging at every moment."""

import contextlib
import copy
import dataclasses
import itertools
import math
import pathlib
import shutil

import numpy as np
import pytest
from etils import epath
from hypothesis import given
from hypothesis import strategies as st

from tests.trials import assert_same_trial, random_trial
from tfmem.config import ImportConfig
from tfmem.disk import atomic, tfrecord
from tfmem.store import archives, compaction
from tfmem.store.archives import Content
from tfmem.store.store import DamagedFileError, Store, StoreError

INDEX = ("trial", "offset", "size")


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def trials(tiny, rng):
    """Trials 0 to 5; number 3 is followed for three epochs."""
    made = {number: random_trial(number, tiny, rng, number % 2 == 0) for number in range(6)}
    epochs = {epoch: {"train_correct": rng.random(21) < 0.5} for epoch in range(3)}
    made[3] = dataclasses.replace(made[3], epochs=epochs)
    return made


@pytest.fixture
def fill(tmp_path, tiny, tiny_config, trials):
    """Makes a store of some of the trials."""

    def make(numbers=range(6), name="store"):
        made = Store.create(tmp_path / name, tiny_config, tiny)
        for number in numbers:
            assert made.write(trials[number])
        return made

    return make


def compact(path, max_bytes=math.inf, progress=lambda trials: None):
    opened = Store.open(path)
    return compaction.compact(opened, compaction.plan(opened, max_bytes), progress)


def compacted(opened):
    compact(opened.path)
    return opened


def files(folder):
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).glob("*")}


def the_archive(opened):
    (path,) = opened.archive_folder.iterdir()
    return pathlib.Path(path)


def assert_holds(path, trials):
    """Asserts that a store has these trials, equal array by array, and nothing damaged."""
    opened = Store.open(path)
    assert opened.numbers() == sorted(trials)
    assert opened.damaged(opened.numbers()) == {}
    assert opened.damaged_archives() == []
    for number, trial in trials.items():
        assert_same(opened.read(number), trial)
    if trials:
        subsets = np.stack([trials[number].subset for number in sorted(trials)])
        np.testing.assert_array_equal(Store.open(path).load().subset.columns(), subsets)


def assert_same(read, trial):
    assert_same_trial(read, trial)
    assert read.epochs.keys() == trial.epochs.keys()
    for epoch, arrays in trial.epochs.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(read.epochs[epoch][name], array)


def found(opened, trials):
    """Reads trials from a store of which nothing was read yet; asserts that no other is read.

    Returns:
      the trials that are right, those that are damaged, and what is said of archives.
    """
    opened = copy.copy(opened)
    right, damaged = set(), set()
    for number in opened.numbers():
        try:
            read = opened.read(number)
        except DamagedFileError as error:
            damaged.add(number)
            message = str(error)
            assert f"trial {number} in {opened.archive_folder}" in message
            assert f"--trials={number}:{number + 1}" in message
        else:
            assert_same(read, trials[number])
            right.add(number)
    return right, damaged, opened.damaged_archives()


def test_archives_are_read_as_files_are(fill, trials):
    path = fill().path
    before = Store.open(path).load()
    done = compact(path)
    assert (done.trials, done.files, len(done.archives), done.damaged) == (6, 6, 1, {})
    assert files(path / "trials") == {}
    assert_holds(path, trials)
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
    fill, trials, tiny, rng
):
    compact(fill(range(6), "a").path, max_bytes=0)
    compact(fill(range(3), "b").path, max_bytes=0)
    compact(fill(range(3, 6), "b").path, max_bytes=0)
    first, second = (files(fill([], name).archive_folder) for name in "ab")
    assert first == second
    starts = [name.split(".")[0] for name in sorted(first)]
    assert starts == [f"trials-00000{number}-00000{number}" for number in range(6)]
    trials[0] = random_trial(0, tiny, rng)
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


def test_every_single_byte_change_is_found_and_costs_one_trial_at_most(fill, trials, rng):
    opened, path, content, parts = two_trials(fill)
    some = {number: trials[number] for number in (2, 3)}
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        right, damaged, problems = found(opened, some)
        if position < parts[2].position:  # The index.
            assert right == {2, 3}
            (problem,) = problems
            assert f"{path} is damaged" in problem
            assert "2 trials are found in it" in problem
            assert "--quarantine" in problem
        else:
            hit = 2 if position < parts[3].position else 3
            assert damaged == {hit}
            assert right == {2, 3} - {hit}
            assert problems == []


def test_every_truncation_is_found_and_costs_what_is_cut_off(fill, trials):
    opened, path, content, parts = two_trials(fill)
    some = {number: trials[number] for number in (2, 3)}
    for length in range(len(content)):
        path.write_bytes(content[:length])
        right, damaged, problems = found(opened, some)
        assert right == {k for k in some if parts[k].position + parts[k].size <= length}
        assert damaged == set()
        assert len(problems) == 1
    path.write_bytes(content + b"\0")
    right, damaged, problems = found(opened, some)
    assert (right, damaged, len(problems)) == ({2, 3}, set(), 1)


@pytest.mark.parametrize("searched", [16, 2**20])
def test_trials_are_found_without_an_index_whatever_else_is_there(
    fill, trials, rng, monkeypatch, searched
):
    """Also a followed trial before damaged bytes is not found with fewer epochs than it has."""
    monkeypatch.setattr(archives, "_SEARCHED_BYTES", searched)
    opened = fill(range(6))
    path = the_archive(compacted(opened))
    content = path.read_bytes()
    parts = archives.inspect(epath.Path(path)).parts
    alone = [content[part.position : part.position + part.size] for part in parts.values()]
    cut = alone[3][:-40]  # Begins as a trial does.
    for junk in (b"", cut, bytes(40), rng.bytes(300), tfrecord.encode([b"no example"])):
        # What is followed by neither a trial nor the end may lack records, and is not trusted.
        is_end = junk in (b"", cut)
        path.write_bytes(junk + junk.join(alone[:5]) + junk)
        right, damaged, problems = found(opened, trials)
        assert right == ({0, 1, 2, 3, 4} if is_end else set())
        assert damaged == set() or b"no example" in junk
        path.write_bytes(junk + alone[0] + alone[3] + junk + alone[4] + alone[5])
        right, damaged, problems = found(opened, trials)
        assert right == ({0, 3, 4, 5} if is_end else {0, 4, 5})
        assert damaged <= {3}
        assert len(problems) == 1


def index_of(columns):
    """Returns the index record of columns that are lists of numbers, or of bytes."""
    columns = {
        name: values if bytes in map(type, values) else np.array(values, type(values[0]))
        for name, values in columns.items()
    }
    return tfrecord.encode([tfrecord.encode_example({"record": b"index"} | columns)])


def test_what_an_index_says_is_not_believed(fill, trials, tmp_path):
    """No trial is read where it is not, and nothing is written outside of the store."""
    opened = fill([0, 1])
    path = the_archive(compacted(opened))
    content = path.read_bytes()
    (index,) = tfrecord.decode(content[: archives.inspect(epath.Path(path)).parts[0].position])
    right = tfrecord.decode_example(index)
    right = {name: right[name].tolist() for name in INDEX}
    body = content[16 + len(index) :]
    first, second = right["size"]
    some = {number: trials[number] for number in (0, 1)}
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
    everything = {str(found) for found in tmp_path.rglob("*")}
    opened = Store.open(path.parent.parent)
    compaction.quarantine(opened, opened.damaged(opened.numbers()))
    compact(opened.path)
    for new in {str(found) for found in tmp_path.rglob("*")} - everything:
        assert new.startswith((str(opened.archive_folder), str(opened.path / "quarantine")))
    assert_holds(opened.path, {0: trials[0]})


def test_a_trial_in_two_places_is_read_from_its_own_file(fill, trials, tiny, rng):
    opened = compacted(fill())
    path = the_archive(opened)
    content = bytearray(path.read_bytes())
    content[archives.inspect(epath.Path(path)).parts[4].position + 30] ^= 1
    path.write_bytes(content)
    opened = Store.open(opened.path)
    assert list(opened.damaged(range(6))) == [4]
    elsewhere = Store.open(opened.path)
    assert elsewhere.numbers() == list(range(6))
    # A sound trial counts as there, a damaged one does not.
    assert not opened.write(random_trial(2, tiny, rng))
    assert not opened.trial_path(2).exists()
    again = trials[4] = random_trial(4, tiny, rng)
    assert opened.write(again)
    for knew_where_it_was in (opened, elsewhere):
        assert_same(knew_where_it_was.read(4), again)
    assert_holds(opened.path, trials)
    assert not opened.write(random_trial(4, tiny, rng))
    # A damaged file hides the sound trial that an archive has, until it is moved aside.
    whole = opened.trial_path(2)
    whole.write_bytes(b"damaged")
    fresh = Store.open(opened.path)
    assert list(fresh.damaged(fresh.numbers())) == [2]
    assert "trial-000002.tfrecord is damaged" in fresh.damaged([2])[2]
    assert fresh.write(trials[2])
    assert_holds(opened.path, trials)
    # Merging drops what is not read.
    done = compact(opened.path)
    assert (done.trials, done.files, done.damaged) == (6, 3, {})
    assert the_archive(opened) != path
    assert files(opened.path / "trials") == {}
    assert_holds(opened.path, trials)


def test_of_several_archives_a_sound_one_is_read(fill, trials):
    opened = compacted(fill([0, 1, 2]))
    damaged = the_archive(compacted(fill(range(6), "larger")))
    content = bytearray(damaged.read_bytes()[:-1])
    content[archives.inspect(epath.Path(damaged)).parts[1].position + 30] ^= 1
    (opened.archive_folder / damaged.name).write_bytes(bytes(content))
    assert found(Store.open(opened.path), trials)[:2] == ({0, 1, 2, 3, 4}, set())


def test_readers_find_what_is_merged_while_they_read(fill, trials):
    """Whatever an object knew of where trials are."""
    path = fill().path
    readers = [Store.open(path) for _ in range(3)]
    readers[0].numbers()
    readers[1].read(2)
    for max_bytes in (0, math.inf):  # Into archives, and these into one.
        compact(path, max_bytes)
        for reader in readers:
            assert_same(reader.read(5), trials[5])
            np.testing.assert_array_equal(reader.load(range(6)).numbers, range(6))
            assert reader.damaged(range(6)) == {}
    path = fill(range(6), "other").path
    steps = {0: 0, 3: math.inf}  # After these trials were read.
    Store.open(path).load(on_trial=lambda trial: trial in steps and compact(path, steps[trial]))
    assert len(files(path / "archives")) == 1


def test_a_trial_that_moves_while_files_are_listed_is_not_missed(fill, monkeypatch):
    path = fill().path
    list_names = atomic.names
    steps = iter([None, lambda: compact(path, 0), None, lambda: compact(path, math.inf)])

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


def test_small_archives_are_merged_and_large_ones_are_left(fill, trials):
    path = fill().path
    compact(path, 0)
    one_each = files(path / "archives")
    sizes = sorted(map(len, one_each.values()))
    assert compact(path, 2 * sizes[0]) == compaction.Compacted(0, [], 0, {})
    done = compact(path, 2 * sizes[-1] + 1)
    assert done.trials == done.files == 6
    assert [len(archive.parts) for archive in done.archives] in ([2, 2, 2], [2, 1, 2, 1])
    assert all(archive.size <= 2 * sizes[-1] + 1 for archive in done.archives)
    assert_holds(path, trials)
    done = compact(path)
    assert (done.trials, len(done.archives)) == (6, 1)
    # Alone it would be the same again.
    assert compact(path).archives == []
    assert_holds(path, trials)


def test_damaged_trials_are_left_where_they_are(fill, trials):
    path = compacted(fill([0, 1])).path
    archive = the_archive(Store.open(path))
    content = bytearray(archive.read_bytes())
    content[-30] ^= 1  # Of trial 1.
    archive.write_bytes(content)
    opened = fill([2, 3, 4, 5])
    opened.trial_path(3).write_bytes(b"damaged")
    done = compact(path)
    assert list(done.damaged) == [1, 3]
    assert (done.trials, done.files) == (3, 3)
    assert archive.read_bytes() == content
    assert list(files(path / "trials")) == ["trial-000003.tfrecord"]
    rest = {number: trials[number] for number in (0, 2, 4, 5)}
    moved = compaction.quarantine(opened, opened.damaged(opened.numbers()))
    assert [target.parent for _, target in moved] == [path / "quarantine"] * 2
    assert_holds(path, rest)
    # Nothing in quarantine is overwritten.
    opened.trial_path(3).write_bytes(b"damaged too")
    compaction.quarantine(opened, [3])
    kept = files(path / "quarantine")
    assert kept["trial-000003.tfrecord"] == b"damaged"
    assert kept["trial-000003.tfrecord.1"] == b"damaged too"
    assert kept[archive.name] == content
    # What is sound stays, whoever thinks that it is damaged.
    assert compaction.quarantine(Store.open(path), [0, 2]) == []
    assert_holds(path, rest)


def test_quarantine_of_an_archive_uncovers_nothing_worse(fill, trials):
    """A damaged file is moved, and so is the archive that has the same trial, damaged as well."""
    path = compacted(fill()).path
    archive = the_archive(Store.open(path))
    content = bytearray(archive.read_bytes())
    content[-30] ^= 1  # Of trial 5.
    archive.write_bytes(content)
    opened = Store.open(path)
    opened.trial_path(5).write_bytes(b"damaged")
    compaction.quarantine(opened, [5])
    assert len(files(path / "quarantine")) == 2
    assert_holds(path, {number: trials[number] for number in range(5)})


class Killed(BaseException):
    pass


def test_wherever_merging_stops_all_trials_are_there_and_it_can_be_done_again(
    fill, trials, monkeypatch, tmp_path
):
    """Small archives, one with a damaged trial that was made again, and files of their own."""
    calls = [0]

    def stop_at(call, function):
        def counted(*args, **kwargs):
            calls[0] += 1
            if calls[0] == call:
                raise Killed
            return function(*args, **kwargs)

        return counted

    def begin(name):
        compact(fill([0, 1, 5], name).path)
        archive = the_archive(fill([], name))
        content = bytearray(archive.read_bytes())
        content[archives.inspect(epath.Path(archive)).parts[1].position + 30] ^= 1
        archive.write_bytes(content)
        return fill([1, 2, 3, 4], name).path

    largest = 2000  # Less than the first archive has, so that it waits for more than one.
    for call in range(1, 1000):
        path = begin(f"killed{call}")
        calls[0] = 0
        with monkeypatch.context() as patch:
            patch.setattr(compaction._Merger, "_read", stop_at(call, compaction._Merger._read))
            patch.setattr(compaction, "_remove", stop_at(call, compaction._remove))
            patch.setattr(Store, "verify", stop_at(call, Store.verify))
            patch.setattr(atomic, "sync_folder", stop_at(call, atomic.sync_folder))
            try:
                compact(path, largest)
                break
            except Killed:
                pass
        assert_holds(path, trials)
        done = compact(path, largest)
        assert done.damaged == {}
        assert_holds(path, trials)
        assert files(path / "trials") == {}
        assert sum(len(archive.parts) for archive in Store.open(path).places().archives) == 6
    assert 30 < call < 999
    assert_holds(path, trials)


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("other_max", [0, 2300, math.inf])
def test_two_at_once_lose_nothing(fill, trials, tmp_path, other_max, overlapping):
    """At every moment of one, another does all of its work, and trials come."""
    later = {number: dataclasses.replace(trials[0], number=number) for number in (7, 8)}
    copies = [the_archive(compacted(fill(some, f"copy{some}"))) for some in ([0, 1], [1, 4])]
    for moment in range(1000):
        name = f"store{moment}"
        compact(fill([1, 4], name).path, 0)
        compact(fill([0, 3], name).path, 0)
        path = fill([2, 5], name).path
        for copy_ in copies if overlapping else ():
            shutil.copy(copy_, path / "archives")
        calls = iter(range(1000))

        def both(done, path=path, moment=moment, calls=calls):
            if next(calls) == moment:
                assert Store.open(path).write(later[7])
                compact(path, other_max)
                assert Store.open(path).write(later[8])
                assert_holds(path, trials | later)

        # It may be told to begin again.
        with contextlib.suppress(StoreError):
            compact(path, 3000, both)
        if next(calls) <= moment:
            break
        assert_holds(path, trials | later)
        done = compact(path)
        assert done.damaged == {}
        assert_holds(path, trials | later)
        assert len(files(path / "archives")) == 1
    assert 10 < moment < 999


def test_two_at_the_same_moment_lose_nothing(fill, trials, monkeypatch):
    """Both have listed the same, overlapping archives before either removes one."""
    copies = {
        some: the_archive(compacted(fill(some, f"copy{some}")))
        for some in ((0, 1, 2), (0, 1), (2, 3), (4, 5))
    }
    path = fill([]).path
    (path / "archives").mkdir()
    for archive in copies.values():
        shutil.copy(archive, path / "archives")
    remove, opened = compaction._remove, Store.open(path)
    other = compaction.plan(opened, copies[0, 1].stat().st_size + 100)

    def first_the_other(removed):
        monkeypatch.setattr(compaction, "_remove", remove)
        compaction.compact(opened, other, lambda trials: None)
        return remove(removed)

    monkeypatch.setattr(compaction, "_remove", first_the_other)
    compact(path, copies[0, 1, 2].stat().st_size + 100)
    assert_holds(path, trials)


def test_what_is_not_read_back_as_it_was_written_replaces_nothing(fill, trials, monkeypatch):
    path = fill().path
    inspect = archives.inspect

    def faulty(archive):
        content = bytearray(archive.read_bytes())
        content[-1] ^= 1
        archive.write_bytes(bytes(content))
        return inspect(archive)

    with monkeypatch.context() as patch:
        patch.setattr(archives, "inspect", faulty)
        with pytest.raises(StoreError, match="read back differently"):
            compact(path)
    assert len(files(path / "trials")) == 6


def test_a_name_that_is_taken_by_other_content_is_left_alone(fill, trials):
    path = fill().path
    compact(path)
    archive = the_archive(Store.open(path))
    content = archive.read_bytes()
    again = fill(range(6), "again").path
    (again / "archives").mkdir()
    taken = pathlib.Path(again / "archives" / archive.name)
    taken.write_bytes(content[:-5])
    assert compact(again).archives[0].path.name != archive.name
    assert taken.read_bytes() == content[:-5]


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
