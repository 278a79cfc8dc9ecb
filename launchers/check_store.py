r"""What a store holds, what is missing, what is damaged, and the command that completes it.

    python -m launchers.check_store --store=STORE [--trials=0:1000]

Reads every trial and verifies its checksums and its content. Exit code 0 if the store is complete
and sound, 1 if it is not.
"""

import itertools
from collections.abc import Sequence

from absl import flags

from analysis import cli
from tfmem.store import Store

FLAGS = flags.FLAGS


def runs(numbers: Sequence[int]) -> str:
    """Returns ascending numbers as ranges: `3, 5:9` for 3, 5, 6, 7, 8."""
    parts = []
    for _, group in itertools.groupby(enumerate(numbers), lambda item: item[1] - item[0]):
        values = [number for _, number in group]
        parts.append(f"{values[0]}:{values[-1] + 1}" if len(values) > 1 else str(values[0]))
    return ", ".join(parts)


def main() -> int:
    wanted = cli.parse_range(FLAGS.trials) if FLAGS.trials else None
    store = Store.open(FLAGS.store)
    wanted = wanted or range(store.config.num_trials)
    there = store.numbers()
    with cli.progress_bar(len(there), "trials read") as progress:
        damaged = store.damaged(there, lambda number: progress(1))
    missing = sorted(set(wanted) - set(there))
    experiment = getattr(store.config, "name", "imported trials")
    print(f"{store.path}: {experiment}, dataset {store.dataset.name or 'without a name'}")
    print(f"{len(there) - len(damaged):,} trials are there and sound")
    if missing:
        print(f"{len(missing):,} of {len(wanted):,} are missing: {runs(missing)}")
    for problem in damaged.values():
        print(problem)
    if not missing and not damaged:
        return 0
    needed = [*missing, *damaged]
    print(f"to complete it, run: {store.command(min(needed), max(needed) + 1)}")
    return 1


if __name__ == "__main__":
    flags.DEFINE_string("store", None, "(required) Directory of the store.")
    flags.DEFINE_string(
        "trials",
        None,
        "START:STOP that should be there; all that the experiment asks for by default.",
    )
    flags.mark_flag_as_required("store")
    cli.run(main)
