"""The figures of docs/measured.md: each a ratio, its parts measured in one run.

No module imports TensorFlow at its top: processes of their own that measure memory import them all.
"""

from launchers.benchmarks import analysis, sharing, training, turnover
from launchers.benchmarks.sizes import Sizes


def run(sizes: Sizes, data_dir: str | None) -> None:
    """Runs all benchmarks and prints each when it is finished.

    Args:
      sizes: how large they are.
      data_dir: where TFDS keeps MNIST; without it, pictures of the same shape are made up, which
        cost the same.
    """
    for title, measure in (
        ("digits_mlp: stacked against Keras fit", training.digits_stacked),
        (
            "mnist_mlp: stacked against Keras fit",
            lambda sizes: training.mnist_stacked(sizes, data_dir),
        ),
        (
            "last layer, n = {:,}, n' = {:,}, {} dimensions, {} classes".format(
                *sizes.representations
            ),
            training.last_layer,
        ),
        (
            "turn-over dropout: a step of mnist_mlp4096, a batch of 256",
            lambda sizes: turnover.steps(sizes, data_dir),
        ),
        (
            f"gradients of mnist_mlp4096: {sizes.gradient_batches} mini-batches of 256",
            lambda sizes: turnover.gradients(sizes, data_dir),
        ),
        (
            "influence, t = {}, n = {}, n' = {}, {} classes".format(*sizes.influence),
            analysis.influence,
        ),
        ("many trials, in two stores", analysis.many),
        (
            "a store of MNIST's size: {} trials, n = {}, n' = {}, {} classes".format(
                *sizes.mnist_store
            ),
            analysis.mnist,
        ),
        (
            "a store of CIFAR-100's size: {} trials, n = {}, n' = {}".format(*sizes.cifar100),
            analysis.cifar100,
        ),
        ("a store that launchers share, n = {}, n' = {}".format(*sizes.shared), sharing.trials),
        (
            f"an experiment of which {sizes.stored:,} trials are stored and {sizes.claimed} in "
            "training",
            sharing.looks,
        ),
        (
            "a store of ImageNet's size: {} trials, n = {}, n' = {}, {} classes".format(
                *sizes.imagenet
            ),
            analysis.imagenet,
        ),
    ):
        print(f"\n{title}", flush=True)
        measure(sizes)
