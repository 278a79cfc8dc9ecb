"""TFRecord files of `tf.train.Example`s as bytes, without importing TensorFlow.

The files are TensorFlow's own format (tests read them with `tf.data` and the other way round); here
they are coded from and to bytes, so that any file system of `etils.epath` can hold them and a
program that only analyses does not wait for TensorFlow.

A record is: its length (uint64), a masked CRC-32C of the length, the data, a masked CRC-32C of the
data, all little-endian.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
# What stands before and after the data of a record.
HEADER_BYTES = _LENGTH.size + _CRC.size
FOOTER_BYTES = _CRC.size

Feature = bytes | list[bytes] | np.ndarray


def _example_class():
    """Builds the message class of tensorflow/core/example/example.proto in a pool of its own."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tfmem_example.proto", package="tensorflow", syntax="proto3"
    )

    def define(name, *fields):
        added = file.message_type.add(name=name)
        for number, (field_name, label, kind, type_name) in enumerate(fields, 1):
            added.field.add(
                name=field_name, number=number, label=label, type=kind, type_name=type_name
            )
        return added

    for name, kind in (
        ("BytesList", field.TYPE_BYTES),
        ("FloatList", field.TYPE_FLOAT),
        ("Int64List", field.TYPE_INT64),
    ):
        define(name, ("value", field.LABEL_REPEATED, kind, None))
    lists = [
        (name, field.LABEL_OPTIONAL, field.TYPE_MESSAGE, f".tensorflow.{type_name}")
        for name, type_name in (
            ("bytes_list", "BytesList"),
            ("float_list", "FloatList"),
            ("int64_list", "Int64List"),
        )
    ]
    feature = define("Feature", *lists)
    feature.oneof_decl.add(name="kind")
    for item in feature.field:
        item.oneof_index = 0
    entry = ".tensorflow.Features.FeatureEntry"
    features = define("Features", ("feature", field.LABEL_REPEATED, field.TYPE_MESSAGE, entry))
    pair = features.nested_type.add(name="FeatureEntry")
    pair.options.map_entry = True
    pair.field.add(name="key", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING)
    pair.field.add(
        name="value",
        number=2,
        label=field.LABEL_OPTIONAL,
        type=field.TYPE_MESSAGE,
        type_name=".tensorflow.Feature",
    )
    features_type = ".tensorflow.Features"
    define("Example", ("features", field.LABEL_OPTIONAL, field.TYPE_MESSAGE, features_type))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


_Example = _example_class()


def encode_example(features: Mapping[str, Feature]) -> bytes:
    """Serializes a `tf.train.Example`.

    Args:
      features: bytes or a list of bytes; integer arrays go to an int64 list, floating ones to a
        float list.
    """
    example = _Example()
    for name, value in features.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, list):
            feature.bytes_list.value.extend(value)
        elif np.issubdtype(np.asarray(value).dtype, np.integer):
            feature.int64_list.value.extend(np.atleast_1d(value).tolist())
        else:
            feature.float_list.value.extend(np.atleast_1d(value).tolist())
    # Deterministic, so that a trial that is trained again is the same file.
    return example.SerializeToString(deterministic=True)


def decode_example(data: bytes) -> dict[str, list[bytes] | np.ndarray]:
    """The inverse of `encode_example`: a list of bytes, an int64 or a float32 array by name.

    Raises:
      ValueError: the data is not a serialized `tf.train.Example`.
    """
    try:
        example = _Example.FromString(data)
    except message.DecodeError as error:
        raise ValueError("a record is not a tf.train.Example") from error
    features = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind == "bytes_list":
            features[name] = feature.bytes_list.value[:]
        elif kind == "int64_list":
            features[name] = _array(feature.int64_list.value, np.int64)
        else:
            features[name] = _array(feature.float_list.value, np.float32)
    return features


def _array(values: Sequence, dtype: type) -> np.ndarray:
    # Several times faster than np.array, which asks protobuf for each value by its index.
    return np.fromiter(values, dtype, len(values))


def checksum(data: bytes) -> int:
    """Returns the CRC-32C of some bytes."""
    return google_crc32c.value(data)


def _masked_crc(data: bytes) -> int:
    crc = checksum(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def encode(records: Iterable[bytes]) -> bytes:
    """Returns the bytes of a TFRecord file with these records."""
    parts = []
    for data in records:
        length = _LENGTH.pack(len(data))
        parts += [length, _CRC.pack(_masked_crc(length)), data, _CRC.pack(_masked_crc(data))]
    return b"".join(parts)


def decode(content: bytes) -> list[bytes]:
    """Returns the records of a TFRecord file.

    Raises:
      ValueError: the file ends inside a record, or a checksum does not match.
    """
    records = []
    position = 0
    while position < len(content):
        start = position + HEADER_BYTES
        length = _length(content[position:start], len(records))
        end, position = start + length, start + length + FOOTER_BYTES
        records.append(_checked(content[start:end], content[end:position], length, len(records)))
    return records


def read(file: BinaryIO, room: int, number: int = 0) -> bytes:
    """Reads one record where an open file stands.

    Args:
      file: open for reading.
      room: how many bytes of it are left, so that no length is believed that cannot be.
      number: of the record, for messages.

    Raises:
      ValueError: there is no whole record, or a checksum does not match.
    """
    length = _length(file.read(HEADER_BYTES), number)
    if HEADER_BYTES + length + FOOTER_BYTES > room:
        raise ValueError(f"the file ends inside record {number}")
    data = file.read(length)
    return _checked(data, file.read(FOOTER_BYTES), length, number)


def is_header(data: bytes) -> bool:
    """Returns whether a record may begin with these bytes: a length and its checksum."""
    return _CRC.unpack_from(data, _LENGTH.size)[0] == _masked_crc(data[: _LENGTH.size])


def _length(header: bytes, number: int) -> int:
    """Returns the length of the data of the record with this header."""
    if len(header) < HEADER_BYTES:
        raise ValueError(f"the file ends inside the header of record {number}")
    if not is_header(header):
        raise ValueError(f"the length of record {number} fails its checksum")
    return _LENGTH.unpack_from(header)[0]


def _checked(data: bytes, crc: bytes, length: int, number: int) -> bytes:
    """Returns the data of a record if it is as long as its header says, and has its checksum."""
    if len(data) < length or len(crc) < FOOTER_BYTES:
        raise ValueError(f"the file ends inside record {number}")
    if _CRC.unpack(crc)[0] != _masked_crc(data):
        raise ValueError(f"record {number} fails its checksum")
    return data
