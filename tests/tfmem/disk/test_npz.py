"""npz files: whole or absent, read in part, and never believed when they are damaged."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.memory import peak_memory
from tfmem.disk import npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_are_those_of_the_whole_array(tmp_path, rng, monkeypatch, save):
    monkeypatch.setattr(npz, "_BLOCK_BYTES", 40)
    monkeypatch.setattr(npz, "_TURNED_BYTES", 150)  # Rows of 48 bytes; and of 80.
    arrays = {
        "bits": rng.random((7, 5)) < 0.5,
        "floats": rng.random((5, 3, 2)),
        "turned": rng.random((6, 5)).T,
        "turned_twice": rng.random((2, 5, 4)).T,
        "long": rng.integers(0, 9, (3, 100)),
        "line": np.arange(23),
        "none": np.zeros((0, 4)),
        "no_columns": np.zeros((4, 0)),
    }
    save(tmp_path / "a.npz", **arrays)
    for name, expected in arrays.items():
        array = npz.open_member(tmp_path / "a.npz", name)
        assert (array.shape, array.dtype, array.nbytes) == (
            expected.shape,
            expected.dtype,
            expected.nbytes,
        )
        for count in (None, 1, 2, 7):
            rows = [row for block in array.blocks(count) for row in block]
            assert len(rows) == len(expected)
            np.testing.assert_array_equal(np.array(rows).reshape(expected.shape), expected)
        np.testing.assert_array_equal(array.read(), expected)
        np.save(tmp_path / "one.npy", expected)
        one = npz.open_npy(tmp_path / "one.npy")
        np.testing.assert_array_equal(np.array(list(one.rows())).reshape(expected.shape), expected)
    sizes = [len(block) for block in npz.open_member(tmp_path / "a.npz", "bits").blocks()]
    assert sizes == [7]  # 8 rows of 5 bytes would fit.
    sizes = [len(block) for block in npz.open_member(tmp_path / "a.npz", "line").blocks()]
    assert sizes == [5, 5, 5, 5, 3]
    wide = [npz.open_member(tmp_path / "a.npz", name) for name in ("floats", "turned")]
    sizes = [[len(block) for block in blocks] for blocks in npz.blocks_together(wide)]
    assert sizes == [[1, 1]] * 5
    with npz.open_npz(tmp_path / "a.npz") as archive:
        assert archive.files == list(arrays)
        for name, expected in arrays.items():
            np.testing.assert_array_equal(archive[name], expected)


def test_the_checksum_is_of_the_content(tmp_path):
    np.savez(tmp_path / "stored.npz", a=np.arange(1000))
    np.savez_compressed(tmp_path / "packed.npz", a=np.arange(1000))
    np.savez(tmp_path / "other.npz", a=np.arange(1000)[::-1].copy())
    sums = []
    for name in ("stored", "packed", "other"):
        with npz.open_npz(tmp_path / f"{name}.npz") as archive:
            sums.append(archive.checksum("a"))
    assert sums[0] == sums[1]
    assert sums[0][0] == sums[2][0]
    assert sums[0][1] != sums[2][1]


def test_pairs_are_written_one_by_one(tmp_path):
    megabyte = np.zeros(1 << 20, np.uint8)
    pairs = ((f"a{i}", megabyte + np.uint8(i)) for i in range(30))
    assert peak_memory(lambda: npz.write_npz(tmp_path / "a.npz", pairs)) < 8 << 20
    with np.load(tmp_path / "a.npz") as archive:
        assert len(archive.files) == 30
        assert (archive["a17"] == 17).all()


def test_a_failed_pair_leaves_no_file(tmp_path):
    def pairs():
        yield "a", np.arange(3)
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        npz.write_npz(tmp_path / "a.npz", pairs())
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_npz_file_is_said(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(ValueError, match=r"a\.npz does not exist"), npz.open_npz(path):
        pass
    with pytest.raises(ValueError, match="is not an npz file"), npz.open_npz(tmp_path):
        pass
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(ValueError, match="single array"), npz.open_npz(tmp_path / "a.npy"):
        pass
    np.savez(path, a=np.arange(3))
    with pytest.raises(ValueError, match=r"a\.npz is an npz file, expected a single array"):
        npz.open_npy(path)
    with pytest.raises(ValueError, match=r"b\.npy does not exist"):
        npz.open_npy(tmp_path / "b.npy")
    with pytest.raises(ValueError, match=r"lacks b, c; it has a"), npz.open_npz(path, "abc"):
        pass
    (tmp_path / "text.npy").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.npy cannot be read"):
        npz.open_npy(tmp_path / "text.npy")


def test_python_objects_are_never_loaded(tmp_path):
    class Fires:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    objects = np.array([Fires(), Fires()], object)
    np.savez(tmp_path / "a.npz", a=objects, b=np.arange(3))
    np.save(tmp_path / "a.npy", objects)
    with npz.open_npz(tmp_path / "a.npz", "ab") as archive:
        with pytest.raises(ValueError, match=r"a\.npz: a cannot be read .*allow_pickle=False"):
            archive["a"]
        assert archive["b"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"a\.npy cannot be read .*allow_pickle=False"):
        npz.open_npy(tmp_path / "a.npy")


@pytest.fixture(scope="module")
def some_files(tmp_path_factory):
    """An npz file of both kinds of members and an npy file: {name: (path, bytes)}."""
    folder = tmp_path_factory.mktemp("npz")
    arrays = {"a": np.arange(12).reshape(4, 3), "b": np.linspace(0, 1, 7)}
    np.savez(folder / "stored.npz", **arrays)
    np.savez_compressed(folder / "packed.npz", **arrays)
    return [(path, path.read_bytes()) for path in sorted(folder.iterdir())]


@hypothesis.given(st.data())
@hypothesis.settings(max_examples=200)
def test_damage_is_an_error_or_does_no_harm(some_files, tmp_path_factory, data):
    """Cut off or with one byte changed, a file gives the right arrays or one ValueError."""
    path, content = data.draw(st.sampled_from(some_files))
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        damaged = content[:position]
    else:
        changed = content[position] ^ data.draw(st.integers(1, 255))
        damaged = content[:position] + bytes([changed]) + content[position + 1 :]
    copy = path.with_suffix(".damaged")
    copy.write_bytes(damaged)
    for read in (
        lambda archive: archive["a"],
        lambda archive: np.array(list(archive.array("a").rows())),
    ):
        said = ""
        try:
            with npz.open_npz(copy, "ab") as archive:
                np.testing.assert_array_equal(read(archive), np.arange(12).reshape(4, 3))
        except ValueError as error:
            said = str(error)
        assert not said or str(copy) in said
