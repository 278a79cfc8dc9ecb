"""TFRecord files of `tf.train.Example`s as bytes, without importing TensorFlow.

The files are TensorFlow's own format (tests read them with `tf.data` and the other way round); here
they are coded from and to bytes, so that any file system of `etils.epath` can hold them and a
program that only analyses does not wait for TensorFlow.

A record is: its length (uint64), a masked CRC-32C of the length, the data, a masked CRC-32C of the
data, all little-endian.
"""

import struct
from collections.abc import Iterable, Mapping

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")

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
            features[name] = list(feature.bytes_list.value)
        elif kind == "int64_list":
            features[name] = np.array(feature.int64_list.value, np.int64)
        else:
            features[name] = np.array(feature.float_list.value, np.float32)
    return features


def _masked_crc(data: bytes | memoryview) -> int:
    crc = google_crc32c.value(bytes(data))
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
        start = position + _LENGTH.size + _CRC.size
        header = content[position:start]
        if len(header) < _LENGTH.size + _CRC.size:
            raise ValueError(f"the file ends inside the header of record {len(records)}")
        (length,) = _LENGTH.unpack_from(header)
        if _CRC.unpack_from(header, _LENGTH.size)[0] != _masked_crc(header[: _LENGTH.size]):
            raise ValueError(f"the length of record {len(records)} fails its checksum")
        end = start + length
        if end + _CRC.size > len(content):
            raise ValueError(f"the file ends inside record {len(records)}")
        data = content[start:end]
        if _CRC.unpack_from(content, end)[0] != _masked_crc(data):
            raise ValueError(f"record {len(records)} fails its checksum")
        records.append(data)
        position = end + _CRC.size
    return records
