"""Merging trials into archives, stopped at every moment, and moving what is damaged aside."""

import pathlib

import pytest

from tests.archived import assert_holds, assert_same, compact, compacted, damage, files, the_archive
from tests.interrupting import kill_everywhere
from tests.trials import random_trial
from tfmem.disk import processes
from tfmem.store import archives
from tfmem.store.errors import StoreError
from tfmem.store.store import Store
from tfmem.workers import claims, compaction
from tfmem.workers.claims import Claims


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr(claims, "_CONFIRM_SECONDS", 0)


def test_only_what_has_files_of_its_own_is_merged(fill, six_trials):
    path = fill([0, 1, 2]).path
    assert compact(path, 0).trials == 3
    before = files(path / "archives")
    assert len(before) == 3
    assert compact(path) == compaction.Compacted(0, [], 0, {})
    fill([3, 4, 5])
    done = compact(path)
    assert (done.trials, done.files, [len(archive.parts) for archive in done.archives]) == (
        3,
        3,
        [3],
    )
    assert before.items() <= files(path / "archives").items()
    assert_holds(path, six_trials)


def test_archives_are_no_larger_than_asked_for(fill, six_trials):
    path = fill().path
    done = compact(path, 3000)
    sizes = [archive.size for archive in done.archives]
    assert len(sizes) > 1
    assert max(sizes) <= 3000
    assert sum(len(archive.parts) for archive in done.archives) == 6
    assert_holds(path, six_trials)


def test_a_trial_of_which_an_archive_has_another_version_stays_and_is_read(
    fill, six_trials, tiny, rng
):
    """As where a disk could not be read for a while, and the trial was trained again meanwhile."""
    path = compacted(fill()).path
    six_trials[4] = random_trial(4, tiny, rng)
    other = compacted(fill([4], "other"))
    Store.open(path).trial_path(4).write_bytes(
        archives.Reader().read(archives.inspect(next(other.archive_folder.iterdir())), 4)
    )
    assert compact(path) == compaction.Compacted(0, [], 0, {})
    assert list(files(path / "trials")) == ["trial-000004.tfrecord"]
    assert_holds(path, six_trials)


def test_damaged_trials_are_left_where_they_are(fill, six_trials):
    path = compacted(fill([0, 1])).path
    archive = the_archive(Store.open(path))
    content = damage(archive, 1)
    opened = fill([2, 3, 4, 5])
    opened.trial_path(3).write_bytes(b"damaged")
    done = compact(path)
    assert list(done.damaged) == [3]
    assert list(opened.damaged(range(6))) == [1, 3]
    assert (done.trials, done.files) == (3, 3)
    assert archive.read_bytes() == content
    assert list(files(path / "trials")) == ["trial-000003.tfrecord"]
    rest = {number: six_trials[number] for number in (0, 2, 4, 5)}
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


def test_quarantine_of_an_archive_uncovers_nothing_worse(fill, six_trials):
    """A damaged file is moved, and so is the archive that has the same trial, damaged as well."""
    path = compacted(fill()).path
    damage(the_archive(Store.open(path)), 5)
    opened = Store.open(path)
    opened.trial_path(5).write_bytes(b"damaged")
    compaction.quarantine(opened, [5])
    assert len(files(path / "quarantine")) == 2
    assert_holds(path, {number: six_trials[number] for number in range(5)})


def small_and_damaged(fill, name):
    """Makes a store with archives, one with a damaged trial that was made again, and files."""
    path = compacted(fill([0, 1, 5], name)).path
    damage(the_archive(Store.open(path)), 1)
    fill([1, 2, 3, 4], name)
    return path


def test_wherever_merging_is_killed_all_trials_are_there_and_it_can_be_done_again(
    fill, six_trials, tiny, rng
):
    stores = iter(range(1000))

    def all_are_there(path):
        assert_holds(path, six_trials)
        compact(path, 2000)
        assert_holds(path, six_trials)
        assert files(path / "trials") == {}
        found = Store.open(path)
        found.numbers()
        # Only the damaged version of trial 1 is beside what is read.
        assert sum(len(archive.parts) for archive in found.places.archives.values()) == 7
        found.remove_abandoned()
        claims.remove_abandoned(path / claims.FOLDER)
        assert all(archives.is_name(name) for name in files(path / "archives"))
        assert files(path / claims.FOLDER) == {}

    count = kill_everywhere(
        lambda: small_and_damaged(fill, f"store{next(stores)}"),
        lambda path: compact(path, 2000),
        all_are_there,
    )
    assert count > 10


def test_wherever_quarantine_is_killed_it_can_be_done_again(fill, six_trials):
    stores = iter(range(1000))

    def begin():
        path = small_and_damaged(fill, f"store{next(stores)}")
        opened = Store.open(path)
        opened.trial_path(1).write_bytes(b"damaged")
        opened.trial_path(2).write_bytes(b"damaged")
        return path

    def run(path):
        opened = Store.open(path)
        return compaction.quarantine(opened, opened.damaged(opened.numbers()))

    def the_sound_ones_are_there(path):
        opened = Store.open(path)
        for number in (0, 3, 4, 5):
            assert_same(opened.read(number), six_trials[number])
        run(path)
        assert_holds(path, {number: six_trials[number] for number in (0, 3, 4, 5)})
        opened.numbers()
        assert [list(archive.parts) for archive in opened.places.archives.values()] == [[0, 5]]
        assert len(files(path / "quarantine")) == 3

    assert kill_everywhere(begin, run, the_sound_ones_are_there) > 5


def test_at_every_moment_of_merging_trials_are_read_and_written(fill, six_trials, tiny, rng):
    later = {number: random_trial(number, tiny, rng) for number in range(7, 40)}
    path = fill().path
    reader, new = Store.open(path), iter(later)

    def use(done):
        number = next(new)
        assert Store.open(path).write(later[number])
        known = six_trials | {n: later[n] for n in range(7, number + 1)}
        assert_holds(path, known)
        assert_same(reader.read(2), six_trials[2])

    compact(path, 3000, use)
    written = {number: later[number] for number in range(7, next(new))}
    assert len(written) > 15
    assert len(files(path / "trials")) == len(written)
    compact(path)
    assert_holds(path, six_trials | written)


def test_one_at_a_time(fill, six_trials, tiny, rng):
    """A second one is told who does it; trials may be stored meanwhile."""
    path = fill().path
    later = random_trial(7, tiny, rng)

    def another(done):
        words = f"{path} is just being compacted by process {processes.current()}; run the same"
        with pytest.raises(StoreError) as error:
            compact(path)
        assert str(error.value).startswith(words)
        with pytest.raises(StoreError, match="being compacted by process"):
            compaction.quarantine(Store.open(path), [1])
        Store.open(path).write(later)

    compact(path, 3000, another)
    assert files(path / claims.FOLDER) == {}
    assert_holds(path, six_trials | {7: later})
    # A trial that is claimed has another claim.
    with Claims(path / claims.FOLDER, "launch") as held:
        assert held.take([0]) == [0]
        assert compact(path).trials == 1


def test_what_is_not_read_back_as_it_was_written_replaces_nothing(fill, six_trials, monkeypatch):
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


def test_a_name_that_is_taken_by_other_content_is_left_alone(fill, six_trials):
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
