"""The figures of docs/measured.md: each a ratio, its parts measured in one run."""

from launchers.benchmarks import analysis, sharing, training, turnover


def run(data_dir: str | None) -> None:
    """Runs all benchmarks and prints each when it is finished.

    Args:
      data_dir: where TFDS keeps MNIST; without it, pictures of the same shape are made up, which
        cost the same.
    """
    for title, measure in (
        ("digits_mlp: stacked against Keras fit", training.digits_stacked),
        ("mnist_mlp: stacked against Keras fit", lambda: training.mnist_stacked(data_dir)),
        (
            "last layer, n = {:,}, n' = {:,}, {} dimensions, {} classes".format(
                *training.REPRESENTATIONS
            ),
            training.last_layer,
        ),
        (
            "turn-over dropout: a step of mnist_mlp4096, a batch of 256",
            lambda: turnover.steps(data_dir),
        ),
        (
            f"gradients of mnist_mlp4096: {turnover.GRADIENT_BATCHES} mini-batches of 256",
            lambda: turnover.gradients(data_dir),
        ),
        (
            "influence, t = {}, n = {}, n' = {}, {} classes".format(*analysis.INFLUENCE),
            analysis.influence,
        ),
        (
            "a store of CIFAR-100's size: {} trials, n = {}, n' = {}".format(*analysis.CIFAR100),
            analysis.cifar100,
        ),
        ("a store that launchers share, n = {}, n' = {}".format(*sharing.SIZES), sharing.trials),
        (
            f"an experiment of which {sharing.STORED:,} trials are stored and {sharing.CLAIMED} in "
            "training",
            sharing.looks,
        ),
        (
            "a store of ImageNet's size: {} trials, n = {}, n' = {}, {} classes".format(
                *analysis.IMAGENET
            ),
            analysis.imagenet,
        ),
    ):
        print(f"\n{title}", flush=True)
        measure()
