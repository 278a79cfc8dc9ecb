r"""Merges finished trials into few large files, kept and copied more easily.

    tfmem compact_store --store=STORE [--max_gib=4]

Trials with files of their own go into new archives under STORE/archives: TFRecord files that all
programs read as they read single trials. Each is read back and compared with what it was made of,
and only then is that removed. Nothing is lost when this is killed, and the same command completes
it; trials may be trained and read meanwhile, but only one process at a time may do this. Damaged
trials are left where they are, and the exit code is then 1.
"""

from absl import flags

from analysis.cli import arguments, program
from tfmem.store.store import Store
from tfmem.words import counted
from tfmem.workers import compaction

FLAGS = flags.FLAGS


def main() -> int:
    store = Store.open(FLAGS.store)
    store.remove_abandoned()
    store.places.look()
    with program.progress_bar(len(store.places.loose), "trials merged", delay=1) as progress:
        done = compaction.compact(store, FLAGS.max_gib * 2**30, progress)
    if done.archives:
        size = sum(archive.size for archive in done.archives) / 1e6
        print(
            f"{store.path}: {counted(done.trials, 'trial')} merged into "
            f"{counted(len(done.archives), 'archive')} of {size:,.1f} MB and read back; "
            f"{counted(done.files, 'file')} removed"
        )
    else:
        store.places.look()
        archives, loose = len(store.places.archives), len(store.places.loose)
        print(
            f"{store.path}: nothing to merge; it has {counted(archives, 'archive')} and "
            f"{counted(loose, 'trial')} in files of their own"
        )
    problems = [*done.damaged.values(), *store.damaged_archives()]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    with program.group("What is read and written"):
        arguments.define_store()
        flags.DEFINE_float(
            "max_gib",
            4.0,
            "Largest size of an archive in GiB; one trial has an archive of its own if it is "
            "larger.",
            lower_bound=1e-6,
        )
    program.run(main)
