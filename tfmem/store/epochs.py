"""What is kept of an epoch of a run that is followed, as a record of a TFRecord file.

A record has `record` ("epoch"), `trial`, `epoch` (0 before training) and some of the arrays of
`FIELDS`.
"""

from collections.abc import Mapping

import numpy as np

from tfmem.disk import bits, tfrecord

Epoch = Mapping[str, np.ndarray]

# Each array is one-dimensional and little-endian; bool is packed, eight to a byte.
FIELDS: Mapping[str, np.dtype] = {
    # Turn-over dropout, of the training examples (Liu et al., Sec. 2.2): cross-entropy in nats.
    "unmuted_loss": np.dtype("<f4"),
    "muted_loss": np.dtype("<f4"),
    "unmuted_predicted": np.dtype("<u2"),
    "muted_predicted": np.dtype("<u2"),
    # Whether the whole network is right.
    "train_correct": np.dtype(bool),
    "test_correct": np.dtype(bool),
    # Of per-example gradients, of all, easy and difficult examples (Liu et al., eqs. 3 and 4).
    "similarity": np.dtype("<f8"),
    "contribution": np.dtype("<f8"),
    "gradients": np.dtype("<i8"),
}


def encode(trial: int, number: int, epoch: Epoch) -> bytes:
    """Returns the record of what is kept after `number` epochs of a trial."""
    features: dict[str, tfrecord.Feature] = {
        "record": b"epoch",
        "trial": np.array([trial]),
        "epoch": np.array([number]),
    }
    for name, array in epoch.items():
        dtype = FIELDS[name]
        if dtype.kind == "b":
            features[f"{name}_count"] = np.array([len(array)])
            features[name] = bits.pack(array).tobytes()
        else:
            features[name] = np.asarray(array).astype(dtype).tobytes()
    return tfrecord.encode_example(features)


def decode(features: Mapping[str, list[bytes] | np.ndarray]) -> tuple[int, Epoch]:
    """Returns (number, arrays) of a decoded record.

    Raises:
      ValueError: it is no record of an epoch.
    """
    if features.get("record") != [b"epoch"] or "epoch" not in features:
        raise ValueError("a record is not that of an epoch")
    found = {}
    for name, dtype in FIELDS.items():
        if name not in features:
            continue
        data = features[name][0]
        if dtype.kind == "b":
            count = int(features[f"{name}_count"][0])
            if len(data) != bits.packed_length(count):
                raise ValueError(f"{name} of an epoch has {len(data)} bytes for {count} examples")
            found[name] = bits.unpack(np.frombuffer(data, np.uint8), count)
        else:
            found[name] = np.frombuffer(data, dtype)
    return int(features["epoch"][0]), found
