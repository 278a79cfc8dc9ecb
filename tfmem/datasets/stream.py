"""Images that do not fit into memory: read from TFDS's files whenever they are needed."""

import functools
import io
import operator
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfmem.datasets import damage, images

if TYPE_CHECKING:
    import tensorflow as tf

# Encoded images that a shuffled reading keeps in memory: 1.1 GB of ImageNet's, at 110 KB each.
SHUFFLE_BUFFER = 10_000
# Files that a shuffled reading takes turns on, and how many records it takes at a turn.
SHUFFLE_FILES = 16
SHUFFLE_BLOCK = 16
_ID, _IMAGE = "file_name", "image"


class ImageStream:
    """Reads the encoded images of a dataset that TFDS has prepared.

    Attributes:
      image_shape: (image_size, image_size, 3), what whoever decodes the images makes of them.
      identity: tells one set of files from another: part of the dataset's fingerprint.
    """

    def __init__(
        self,
        builder: Any,
        split_names: Mapping[str, str],
        ids: Mapping[str, np.ndarray],
        image_size: int,
        identity: str,
    ):
        """Keeps what `read` needs.

        Args:
          builder: a prepared TFDS builder; its features are `image` and `file_name`.
          split_names: TFDS's names of `train` and `test`.
          ids: of `train` and `test`: str [n], the `file_name` of each example, in index order.
          image_size: side of the images after decoding.
          identity: of the files, whatever the image_size.
        """
        self.image_shape = (image_size, image_size, 3)
        self.identity = f"{identity} {self.image_shape}"
        self._builder = builder
        self._split_names = dict(split_names)
        self._ids = dict(ids)

    def read(
        self, split: str, seed: int | None = None, keep: np.ndarray | None = None
    ) -> "tf.data.Dataset":
        """Returns examples, each once: (index int64 [], encoded JPEG string []).

        Args:
          split: train or test.
          seed: None reads in index order. A number, 0 or more, reads in an order that depends on
            nothing but it and the files: files in random order, `SHUFFLE_FILES` at a time, and then
            a buffer of `SHUFFLE_BUFFER` encoded images. Every iteration has the same order.
          keep: bool [n], the examples to return; None returns all. The others are dropped before
            the buffer, undecoded.

        Raises:
          ValueError: there is no such split, the seed is negative or keep has another length.
        """
        import tensorflow as tf

        count = self._count(split)
        if seed is not None and seed < 0:
            raise ValueError(f"seed {seed}: expected 0 or more")
        if keep is not None and np.shape(keep) != (count,):
            raise ValueError(f"keep has shape {np.shape(keep)}, expected ({count},) for {split}")
        # The files are put into order here: TFDS's own shuffle would depend on TensorFlow's global
        # seed too.
        examples = self._numbered(
            split,
            self._split_names[split],
            interleave_cycle_length=1 if seed is None else SHUFFLE_FILES,
            interleave_block_length=SHUFFLE_BLOCK,
            experimental_interleave_sort_fn=functools.partial(_in_random_order, seed=seed),
        )
        if keep is not None:
            keep = np.asarray(keep, bool)
            count = int(keep.sum())
            kept = tf.constant(keep)
            examples = examples.filter(lambda index, image: kept[index])
        if seed is not None:
            examples = _shuffled(examples, seed)
        return examples.apply(tf.data.experimental.assert_cardinality(count))

    def pictures(self, split: str, index: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields single images: their index, and uint8 [image_size, image_size, 3].

        Of each file that has one, what lies before it is read too, but nothing else is decoded.

        Args:
          split: train or test.
          index: int [k], which; each is yielded once, in whatever order.

        Raises:
          ValueError: there is no such split, or no such index.
        """
        import tensorflow_datasets as tfds

        count = self._count(split)
        index = np.unique(index)
        outside = index[(index < 0) | (index >= count)]
        if outside.size:
            raise ValueError(f"{split} has no example {outside[0]}: expected 0 to {count - 1}")
        if not index.size:
            return
        runs = np.split(index, np.flatnonzero(np.diff(index) > 1) + 1)
        name, instruction = self._split_names[split], tfds.core.ReadInstruction
        parts = [instruction(name, int(run[0]), int(run[-1]) + 1, unit="abs") for run in runs]
        part = functools.reduce(operator.add, parts)
        examples = self._numbered(
            split, part, interleave_cycle_length=SHUFFLE_FILES, interleave_block_length=1
        )
        with damage.reading(self._builder):
            for number, encoded in examples.as_numpy_iterator():
                # TensorFlow, which decodes what is trained on, does not look at the orientation.
                pixels = images.decode(io.BytesIO(encoded), "RGB", upright=False)
                yield int(number), images.square(pixels, self.image_shape[0])

    def _count(self, split: str) -> int:
        if split not in self._ids:
            raise ValueError(f"split {split!r}: expected {' or '.join(self._ids)}")
        return len(self._ids[split])

    def _numbered(self, split: str, part: Any, **config: Any) -> "tf.data.Dataset":
        """Returns (index, encoded image) of a part of a split, as TFDS names parts."""
        import tensorflow as tf
        import tensorflow_datasets as tfds

        examples = self._builder.as_dataset(
            split=part,
            shuffle_files=False,
            read_config=tfds.ReadConfig(try_autocache=False, **config),
            decoders=tfds.decode.PartialDecoding(
                {_ID: True, _IMAGE: True}, decoders={_IMAGE: tfds.decode.SkipDecoding()}
            ),
        )
        table = self._tables[split]

        def numbered(example):
            index = table.lookup(example[_ID])
            known = tf.debugging.assert_non_negative(
                index, f"{split} has a record that is not in the index of its ids"
            )
            with tf.control_dependencies([known]):
                return tf.identity(index), example[_IMAGE]

        return examples.map(numbered, num_parallel_calls=tf.data.AUTOTUNE)

    @functools.cached_property
    def _tables(self) -> dict[str, "tf.lookup.StaticHashTable"]:
        """From id to index, by split: 124 MB and 1.5 s for ImageNet.

        Records are told by the id that they carry rather than by their place, which TFDS can name
        too (`add_tfds_id`) but in a form that it may change; and a record that the index of ids
        does not know is an error, not a wrong example.
        """
        import tensorflow as tf

        with tf.init_scope(), tf.device("CPU:0"):
            return {
                split: tf.lookup.StaticHashTable(
                    tf.lookup.KeyValueTensorInitializer(
                        tf.constant(np.char.encode(ids, "utf-8")),
                        tf.range(len(ids), dtype=tf.int64),
                    ),
                    default_value=-1,
                )
                for split, ids in self._ids.items()
            }


def _in_random_order(files: list, seed: int | None) -> list:
    if seed is None:
        return files
    return [files[index] for index in np.random.default_rng(seed).permutation(len(files))]


def _shuffled(examples: "tf.data.Dataset", seed: int) -> "tf.data.Dataset":
    import tensorflow as tf

    def shuffled(_):
        # In this function's graph only. The order would otherwise depend on the global seed, which
        # belongs to whoever trains.
        tf.random.set_seed(seed)
        return examples.shuffle(SHUFFLE_BUFFER, seed=seed, reshuffle_each_iteration=False)

    return tf.data.Dataset.from_tensors(0).flat_map(shuffled)
