import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfmem.disk import bits, tfrecord
from tfmem.disk.bits import BitMatrix

MATRICES = hnp.arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 40)))


def test_bits_are_little_endian():
    assert bits.pack(np.array([1, 0, 0, 0, 0, 0, 0, 0, 1, 1], bool)).tolist() == [1, 3]


def test_bits_that_are_set_are_counted():
    assert bits.count(b"") == bits.count(b"\0\0") == 0
    assert bits.count(b"\x01\x80\xff") == 10
    assert bits.count(b"\x03\x80", b"\x06\xff") == 2  # 0b011 & 0b110, 0b1000_0000.


@given(MATRICES, st.data())
def test_bit_matrix_equals_the_boolean_one(values, data):
    packed = BitMatrix.from_bool(values)
    assert packed.shape == values.shape
    columns = values.shape[1]
    index = data.draw(st.lists(st.integers(0, columns - 1)))
    np.testing.assert_array_equal(packed.columns(), values)
    np.testing.assert_array_equal(
        packed.columns(np.array(index, int)), values[:, np.array(index, int)]
    )
    np.testing.assert_array_equal(packed.row_sums(), values.sum(axis=1))
    both = packed & BitMatrix.from_bool(values[::-1])
    np.testing.assert_array_equal(both.columns(), values & values[::-1])
    np.testing.assert_array_equal(packed.rows(slice(1, None)).columns(), values[1:])


@given(hnp.arrays(bool, st.tuples(st.integers(0, 20), st.integers(1, 40))), st.integers(1, 3))
def test_transposed(values, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bits, "_BLOCK", block)
        turned = BitMatrix.from_bool(values).transposed
    assert turned.shape == values.T.shape
    np.testing.assert_array_equal(turned.columns(), values.T)
    # Bits beyond the last are 0, so that they can be counted.
    np.testing.assert_array_equal(turned.row_sums(), values.sum(axis=0))


def test_crc_is_crc32c():
    """The check value of CRC-32C, for the digits 1 to 9, under TFRecord's mask."""
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert tfrecord.encode([b"123456789"])[-4:] == masked.to_bytes(4, "little")


FEATURES = {
    "bytes": b"\x00\xff",
    "several": [b"a", b"", b"c"],
    "ints": np.array([3, -4, 2**40]),
    "floats": np.array([0.5, -2.0], np.float32),
}


def test_example_both_ways():
    read = tfrecord.decode_example(tfrecord.encode_example(FEATURES))
    assert read["bytes"] == [b"\x00\xff"]
    assert read["several"] == [b"a", b"", b"c"]
    np.testing.assert_array_equal(read["ints"], FEATURES["ints"])
    np.testing.assert_array_equal(read["floats"], FEATURES["floats"])


def test_tensorflow_reads_ours_and_we_read_tensorflows(tmp_path):
    import tensorflow as tf

    ours = tmp_path / "ours.tfrecord"
    example = tfrecord.encode_example(FEATURES)
    ours.write_bytes(tfrecord.encode([example, b"", b"x" * 1000]))
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(ours))]
    assert records == [example, b"", b"x" * 1000]
    parsed = tf.train.Example.FromString(records[0])
    assert list(parsed.features.feature["ints"].int64_list.value) == [3, -4, 2**40]
    assert list(parsed.features.feature["several"].bytes_list.value) == [b"a", b"", b"c"]
    assert list(parsed.features.feature["floats"].float_list.value) == [0.5, -2.0]

    theirs = tmp_path / "theirs.tfrecord"
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        writer.write(parsed.SerializeToString())
        writer.write(b"end")
    first, second = tfrecord.decode(theirs.read_bytes())
    assert second == b"end"
    np.testing.assert_array_equal(tfrecord.decode_example(first)["ints"], FEATURES["ints"])


@pytest.mark.parametrize("length", range(1, 16 + 3 + 16))
def test_truncation_is_detected(length):
    content = tfrecord.encode([b"abc", b"de"])
    first = 16 + 3
    if length == first:  # A whole file of one record: the reader of trials counts them.
        assert tfrecord.decode(content[:length]) == [b"abc"]
    else:
        with pytest.raises(ValueError, match=r"the file ends inside|fails its checksum"):
            tfrecord.decode(content[:length])


def test_not_an_example():
    with pytest.raises(ValueError, match=r"not a tf\.train\.Example"):
        tfrecord.decode_example(b"\xff\xff\xff")
