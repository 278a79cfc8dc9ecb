"""Turn-over dropout (Kobayashi et al., 2020; Liu, Lin & Jaggi, 2021, Sec. 2.2 and App. B).

Every training example has a mask in every layer that is followed by turn-over dropout: half of the
layer's units, or of its feature maps, are on. It is a pure function of the layer's key and the
example's id. Training updates the half that is on, the unmuted sub-network; the other half, the
muted sub-network, never sees the example, and so stands in for a network trained without it.

The layers are `keras.ops` alone, so that they run on every Keras backend. Masks are computed on the
device for a whole batch at once and stored nowhere.
"""

import functools
import itertools
import math
import random
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from tfmem import words

# What a mode multiplies the mask by: activations are scaled by 1 + sign * (2 * mask - 1), which is
# 2 on units that are on and 0 on the others, the reverse, or 1. The mean over masks is 1 in all.
UNMUTED, MUTED, FULL = "unmuted", "muted", "full"
MODES: Mapping[str, float] = {UNMUTED: 1.0, MUTED: -1.0, FULL: 0.0}

MAX_IDS = 2**31  # Ids are int32, from 0.
_AT_ONCE = 4096  # Examples whose masks are in memory unpacked.
_GROUP = 16  # Units that are drawn together: half of each group is on.
# Threefry-2x32 with 20 rounds (Salmon et al., 2011).
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_INJECTIONS = 5


def threefry(key, x0, x1):
    """Encrypts counters by Threefry-2x32-20: a random function of (key, counter).

    Args:
      key: int32 [2].
      x0: int32, of any shape: the counters' first words.
      x1: int32, of a shape that broadcasts to x0's: their second words.

    Returns:
      Two int32 tensors of the shape that both broadcast to.
    """
    keys = (key[0], key[1], ops.bitwise_xor(ops.bitwise_xor(key[0], key[1]), _PARITY))
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for injection in range(1, _INJECTIONS + 1):
        for rotation in _ROTATIONS[(injection - 1) % 2]:
            x0 = x0 + x1
            x1 = ops.bitwise_xor(_rotate(x1, rotation), x0)
        x0 = x0 + keys[injection % 3]
        x1 = x1 + keys[(injection + 1) % 3] + injection
    return x0, x1


def _rotate(x, count: int):
    """Rotates int32 to the left; a shift to the right copies the sign, which is masked away."""
    right = ops.bitwise_and(ops.right_shift(x, 32 - count), (1 << count) - 1)
    return ops.bitwise_or(ops.left_shift(x, count), right)


@functools.cache
def _halves(units: int) -> np.ndarray:
    """Returns all ways to turn half of `units` on: float32 [ways, units]; no GPU gathers uint8."""
    ways = list(itertools.combinations(range(units), units // 2))
    patterns = np.zeros((len(ways), units), np.float32)
    patterns[np.arange(len(ways))[:, None], ways] = 1
    return patterns


def masks(key, ids, units: int):
    """Returns the masks of a batch: float32 [batch, units], exactly half of each row 1.

    Units are drawn in groups of 16, of which 8 are on, each of the 12,870 ways being equally
    likely; a last group is smaller. One word of Threefry draws a group.

    Args:
      key: int32 [2], of the layer.
      ids: int32 [batch], the examples' ids.
      units: an even number.
    """
    whole, rest = divmod(units, _GROUP)
    groups = whole + (rest > 0)
    pairs = ops.arange(-(-groups // 2), dtype="int32")
    encrypted = threefry(key, ids[:, None], ops.zeros_like(ids)[:, None] + pairs[None, :])
    encrypted = ops.bitwise_and(ops.concatenate(encrypted, axis=1), MAX_IDS - 1)
    parts = []
    for size, drawn in ((_GROUP, encrypted[:, :whole]), (rest, encrypted[:, whole:groups])):
        if size and drawn.shape[1]:
            patterns = _halves(size)
            chosen = ops.take(ops.convert_to_tensor(patterns), drawn % len(patterns), axis=0)
            parts.append(ops.reshape(chosen, (-1, drawn.shape[1] * size)))
    return ops.concatenate(parts, axis=1)


@keras.saving.register_keras_serializable(package="tfmem")
class MaskKey(keras.initializers.Initializer):
    """The key of a layer's masks, two 32-bit words from a seed.

    Args:
      seed: 0 or more; None draws one, as Keras's random initializers do.
    """

    def __init__(self, seed: int | None = None):
        self.seed = random.randrange(2**32) if seed is None else seed

    def __call__(self, shape, dtype=None):
        state = np.random.SeedSequence(self.seed).generate_state(math.prod(shape), np.uint32)
        return ops.convert_to_tensor(state.view(np.int32).reshape(shape))

    def get_config(self):
        return {"seed": self.seed}


@keras.saving.register_keras_serializable(package="tfmem")
class TurnoverDropout(keras.layers.Layer):
    """Lets through the half of the units that an example's mask turns on, or the other half.

    It is called on [x, ids, modes]: x is [batch, ..., units], where a unit of an image-shaped x is
    a whole feature map ("2D spatial" in App. B) and one of a sequence is a feature at all places;
    ids are int32 [batch] and modes float32 [batch], values of `MODES`. What is let through is
    doubled, so that the expected activation is unchanged; mode `full` changes nothing. Training
    and evaluation are the same.

    Args:
      key_initializer: of the weight `key`, int32 [2].

    Raises:
      ValueError: when built, an odd number of units, which has no half.
    """

    def __init__(self, key_initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.key_initializer = keras.initializers.get(key_initializer or MaskKey())

    def build(self, input_shape):
        units = input_shape[0][-1]
        if units % 2:
            raise ValueError(f"{self.name} has {units} units, expected an even number of them")
        self.key = self.add_weight(
            shape=(2,), dtype="int32", initializer=self.key_initializer, trainable=False, name="key"
        )

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def masks(self, ids):
        """Returns this layer's masks of int32 [batch] ids: float32 [batch, units]."""
        return masks(ops.convert_to_tensor(self.key), ids, self.units)

    @property
    def units(self) -> int:
        return self._build_shapes_dict["input_shape"][0][-1]

    def call(self, inputs):
        x, ids, modes = inputs
        signs = ops.cast(modes, "float32")[:, None]
        factors = ops.cast(1 + signs * (2 * self.masks(ids) - 1), x.dtype)
        shape = (-1, *[1] * (len(x.shape) - 2), self.units)
        return x * ops.reshape(factors, shape)

    def get_config(self):
        initializer = keras.initializers.serialize(self.key_initializer)
        return {**super().get_config(), "key_initializer": initializer}


class NetworkBuilder:
    """Builds a model of images or, with turn-over dropout, of [images, ids, modes] to logits."""

    def __init__(self, turnover: bool):
        self._inputs = []
        if turnover:
            self._inputs = [
                keras.Input((), dtype="int32", name="ids"),
                keras.Input((), dtype="float32", name="modes"),
            ]
        self._dropped = False

    def drop(self, x, name: str):
        """Applies turn-over dropout, if there is any, as the layer `<name>_turnover`."""
        if not self._inputs:
            return x
        self._dropped = True
        return TurnoverDropout(name=f"{name}_turnover")([x, *self._inputs])

    def model(self, images, logits, name: str) -> keras.Model:
        if self._inputs and not self._dropped:
            raise ValueError(f"model {name!r} has no hidden layers for turn-over dropout to follow")
        return keras.Model([images, *self._inputs] if self._inputs else images, logits, name=name)


def layers(model: keras.Model) -> list[TurnoverDropout]:
    """Returns the model's turn-over dropout layers.

    Raises:
      ValueError: it has none.
    """
    found = [layer for layer in model.layers if isinstance(layer, TurnoverDropout)]
    if not found:
        raise ValueError(
            f"{model.name} has no turn-over dropout: build it with tfmem.models.build(..., "
            "turnover=True)"
        )
    return found


def require_ids(ids: Sequence[int] | np.ndarray, count: int = MAX_IDS) -> np.ndarray:
    """Returns ids as int32 [k].

    Args:
      ids: whole numbers, from 0.
      count: how many examples there are.

    Raises:
      ValueError: an id is out of range.
    """
    ids = np.asarray(ids)
    bad = ids[(ids < 0) | (ids >= count)]
    if bad.size:
        raise ValueError(f"example id {bad[0]} is out of range, expected 0 to {count - 1:,}")
    return ids.astype(np.int32)


def apply(model: keras.Model, images, ids, mode: str, training: bool = False):
    """Returns the logits of a sub-network of each example's own: [batch, classes].

    Args:
      model: with turn-over dropout, [images, ids, modes] -> logits.
      images: what the model takes, [batch, ...].
      ids: int32 [batch]: of each row, whose mask it is.
      mode: a key of `MODES`.
      training: as Keras has it, for other layers; turn-over dropout is the same in both.
    """
    sign = words.lookup(MODES, mode, "mode")
    images, ids = ops.convert_to_tensor(images), ops.cast(ids, "int32")
    modes = sign + ops.zeros_like(ops.cast(ids, "float32"))
    return model([images, ids, modes], training=training)


def packed_masks(model: keras.Model, ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns the masks of examples over all layers of a model, eight units to a byte.

    Args:
      model: with turn-over dropout.
      ids: int [k].

    Returns:
      uint8 [k, bytes], layer by layer, each filled up to whole bytes.

    Raises:
      ValueError: an id is out of range, or the model has no turn-over dropout.
    """
    ids, found = require_ids(ids), layers(model)
    rows = []
    for start in range(0, len(ids), _AT_ONCE):
        part = ops.convert_to_tensor(ids[start : start + _AT_ONCE])
        drawn = [ops.convert_to_numpy(layer.masks(part)).astype(bool) for layer in found]
        rows.append(np.concatenate([np.packbits(mask, axis=1) for mask in drawn], axis=1))
    return np.concatenate(rows)


def require_distinct_masks(model: keras.Model, count: int) -> None:
    """Checks that no two of the examples 0 to count - 1 share a mask (Liu et al., Sec. 2.2).

    Raises:
      ValueError: two do, which takes a model with very few units.
    """
    packed = np.ascontiguousarray(packed_masks(model, np.arange(count)))
    rows = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    order = np.argsort(rows, kind="stable")
    same = np.flatnonzero(rows[order][1:] == rows[order][:-1])
    if same.size:
        first, second = order[same[0]], order[same[0] + 1]
        units = sum(layer.units for layer in layers(model))
        raise ValueError(
            f"examples {first} and {second} have the same mask: {units} units with turn-over "
            f"dropout are too few for {count:,} examples; give the model more"
        )
