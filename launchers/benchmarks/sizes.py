"""How large the benchmarks are: as docs/measured.md has them, or just large enough to run."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is measured, and how often.

    Attributes:
      rounds: how often what is compared is measured in turn.
      more_rounds: how often what varies most is.
      stacked: trials of digits_mlp in stacks.
      mnist: training and test examples of the pictures of MNIST's shape.
      representations: n, n', dimensions and classes of the last layer's benchmark: of CIFAR-100 and
        the penultimate features of ResNet50 (Sec. 3.6).
      linear_epochs: of its 40, each the same work.
      product_side: of the square matrices whose product measures the machine.
      steps: of turn-over dropout.
      gradient_batches: mini-batches of 256 whose gradients are compared.
      influence: trials, n, n' and classes of the influence benchmark.
      many: trials, n, n' and classes of the digits and of CIFAR-100: more than the papers have.
      mnist_store: trials, n, n' and classes of a store of MNIST's size.
      cifar100: trials, n, n' and classes of a store of the paper's CIFAR-100 size.
      full: of its trials, for the full matrix.
      imagenet: trials, n, n' and classes of a store of the paper's ImageNet size.
      planted_pairs: the pairs that are found there, and at MNIST's size.
      shared: n, n' and classes of a store that launchers share.
      stored: its trials.
      claimed: trials in training.
      launched: trials that a launch only has to store.
    """

    rounds: int = 3
    more_rounds: int = 5
    stacked: int = 200
    mnist: tuple[int, int] = (60_000, 10_000)
    representations: tuple[int, int, int, int] = (50_000, 10_000, 2048, 100)
    linear_epochs: int = 8
    product_side: int = 4096
    steps: int = 60
    gradient_batches: int = 2
    influence: tuple[int, int, int, int] = (2000, 20_000, 5_000, 100)
    many: tuple[tuple[int, int, int, int], ...] = (
        (100_000, 1257, 540, 10),
        (20_000, 50_000, 10_000, 100),
    )
    mnist_store: tuple[int, int, int, int] = (4000, 60_000, 10_000, 10)
    cifar100: tuple[int, int, int, int] = (10_000, 50_000, 10_000, 100)
    full: int = 4000
    imagenet: tuple[int, int, int, int] = (2000, 1_281_167, 50_000, 1000)
    planted_pairs: int = 1641
    shared: tuple[int, int, int] = (50_000, 10_000, 100)
    stored: int = 10_000
    claimed: int = 256
    launched: int = 200


MEASURED = Sizes()
SMALLEST = Sizes(
    rounds=1,
    more_rounds=1,
    stacked=4,
    mnist=(600, 100),
    representations=(500, 100, 16, 10),
    linear_epochs=1,
    product_side=64,
    steps=2,
    gradient_batches=1,
    influence=(40, 500, 100, 5),
    many=((400, 100, 50, 10),),
    mnist_store=(100, 500, 100, 5),
    cifar100=(20, 500, 100, 5),
    full=10,
    imagenet=(400, 500, 250, 10),
    planted_pairs=5,
    shared=(500, 100, 10),
    stored=20,
    claimed=4,
    launched=4,
)
