"""TFRecord files of `tf.train.Example`s as bytes, without importing TensorFlow.

The files are TensorFlow's own format (tests read them with `tf.data` and the other way round); here
they are coded from and to bytes, so that any file system of `etils.epath` can hold them and a
program that only analyses does not wait for TensorFlow.

A record is: its length (uint64), a masked CRC-32C of the length, the data, a masked CRC-32C of the
data, all little-endian.
"""

import io
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory, text_format

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
# A record's data has this many bytes before it and after it.
HEADER_BYTES = _LENGTH.size + _CRC.size
FOOTER_BYTES = _CRC.size

Feature = bytes | list[bytes] | np.ndarray


# tensorflow/core/example/example.proto, as a descriptor.
_EXAMPLE_PROTO = """
name: "tfmem_example.proto"
syntax: "proto3"
message_type {
  name: "BytesList"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES }
}
message_type {
  name: "FloatList"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_FLOAT }
}
message_type {
  name: "Int64List"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 }
}
message_type {
  name: "Feature"
  oneof_decl { name: "kind" }
  field { name: "bytes_list" number: 1 type: TYPE_MESSAGE type_name: ".BytesList" oneof_index: 0 }
  field { name: "float_list" number: 2 type: TYPE_MESSAGE type_name: ".FloatList" oneof_index: 0 }
  field { name: "int64_list" number: 3 type: TYPE_MESSAGE type_name: ".Int64List" oneof_index: 0 }
}
message_type {
  name: "Features"
  nested_type {
    name: "FeatureEntry"
    options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".Feature" }
  }
  field {
    name: "feature" number: 1 label: LABEL_REPEATED
    type: TYPE_MESSAGE type_name: ".Features.FeatureEntry"
  }
}
message_type {
  name: "Example"
  field { name: "features" number: 1 type: TYPE_MESSAGE type_name: ".Features" }
}
"""
_pool = descriptor_pool.DescriptorPool()
_pool.Add(text_format.Parse(_EXAMPLE_PROTO, descriptor_pb2.FileDescriptorProto()))
_Example = message_factory.GetMessageClass(_pool.FindMessageTypeByName("Example"))


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


def decode_example(data: bytes) -> dict[str, Any]:
    """The inverse of `encode_example`: a list of bytes, an int64 or a float32 array by name.

    Raises:
      ValueError: the data is not a serialized `tf.train.Example`.
    """
    try:
        example = _Example.FromString(data)
    except message.DecodeError as error:
        raise ValueError("a record is not a tf.train.Example") from error
    features: dict[str, Any] = {}
    found = example.features.feature
    for name in found:
        feature = found[name]
        kind = feature.WhichOneof("kind")
        if kind == "bytes_list":
            features[name] = feature.bytes_list.value[:]
        elif kind == "int64_list":
            features[name] = _array(feature.int64_list.value, np.int64)
        else:
            features[name] = _array(feature.float_list.value, np.float32)
    return features


def _array(values: Sequence, dtype: type) -> np.ndarray:
    # A list first, which protobuf makes at once; of a container NumPy asks for each value.
    return np.array(values[:], dtype)


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
    file = io.BytesIO(content)
    records: list[bytes] = []
    while file.tell() < len(content):
        records.append(read(file, len(content) - file.tell(), len(records)))
    return records


def read(file: BinaryIO, left: int, number: int = 0) -> bytes:
    """Reads one record where an open file stands; `number` is for messages.

    As `left` bytes of the file are left, no length is believed that cannot be.

    Raises:
      ValueError: there is no whole record, or a checksum does not match.
    """
    whole = size(file.read(HEADER_BYTES), number)
    if whole > left:
        raise ValueError(f"the file ends inside record {number}")
    data = file.read(whole - HEADER_BYTES - FOOTER_BYTES)
    if file.read(FOOTER_BYTES) != _CRC.pack(_masked_crc(data)):
        raise ValueError(f"record {number} fails its checksum")
    return data


def size(header: bytes, number: int = 0) -> int:
    """Returns how many bytes the record with this header has, header and all.

    Raises:
      ValueError: the header is cut off, or fails its checksum.
    """
    if len(header) < HEADER_BYTES:
        raise ValueError(f"the file ends inside the header of record {number}")
    if _CRC.unpack_from(header, _LENGTH.size)[0] != _masked_crc(header[: _LENGTH.size]):
        raise ValueError(f"the length of record {number} fails its checksum")
    return HEADER_BYTES + _LENGTH.unpack_from(header)[0] + FOOTER_BYTES
