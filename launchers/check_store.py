r"""What a store holds and lacks, what of it is damaged, and how it is completed.

    tfmem check_store --store=STORE [--trials=0:1000] [--quarantine]
    tfmem check_store --store=STORE --watch

Reads every trial, from its own file or an archive, and verifies its checksums and its content.
What programs left behind that were killed is removed: temporary files, and claims of trials. Trials
that a launch has given up are named with their logs. --quarantine moves damaged files to
STORE/quarantine, so that their trials are missing; before a damaged archive goes, its sound trials
are merged into a new one. Trials that are whole but of another configuration are moved likewise,
unless they are the more: then experiment.json is what is wrong, and named. Networks that are kept
are read too, and counted. A trial whose network is damaged is as sound as before; --quarantine
moves the network, and the trial has none. --watch reads no trial,
and shows how far they are until the last one is stored or given up, whoever trains them. Exit code
0 if the store is complete and sound, 1 if it is not. It is complete if it has --trials; without
that, what the launches so far asked for.
"""

import contextlib
from collections.abc import Mapping, Sequence

from absl import flags

from analysis.cli import arguments, program, stores
from launchers.cli import progress
from tfmem.store import asked
from tfmem.store.errors import DamagedFileError, told_apart
from tfmem.store.store import Store
from tfmem.words import counted, runs
from tfmem.workers import claims, compaction, logs

FLAGS = flags.FLAGS


def main() -> int:
    if FLAGS.watch and FLAGS.quarantine:
        raise ValueError("--watch reads no trial, so it cannot go with --quarantine: give one")
    chosen = arguments.chosen_trials()
    store = Store.open(FLAGS.store)
    wanted = [chosen] if chosen else store.head.asked
    if FLAGS.watch:
        found = progress.watch(store, [trial for part in wanted for trial in part])
        return 0 if found.done == found.total else 1
    # One may check a store that one cannot write; each file system has its own error for that.
    with contextlib.suppress(Exception):
        store.remove_abandoned()
        claims.remove_abandoned(store.path / claims.FOLDER)
        logs.Logs(store.path / logs.FOLDER).remove_abandoned()
    there = store.numbers()
    with program.progress_bar(len(there), "trials read") as advance:
        damaged = store.damaged(there, lambda number: advance(1))
    print(f"{store.path}: {store.config.name}, dataset {store.dataset.name or 'without a name'}")
    if FLAGS.quarantine:
        aside = told_apart(damaged)[0] if store.others_prevail(damaged) else damaged
        for problem in [*aside.values(), *store.damaged_archives()]:
            print(problem.what)
        for path, target in compaction.quarantine(store, aside):
            print(f"moved {path} to {target}")
        there = store.numbers()
        damaged = store.damaged(number for number in there if number in damaged)
    code = report(store, wanted, there, damaged)
    sound = [number for number in there if number not in damaged]
    return max(code, check_networks(store, sound))


def check_networks(store: Store, numbers: Sequence[int]) -> int:
    """Prints which networks of sound trials are kept, and which are damaged; returns the exit code.

    Those that are damaged are moved aside, if that is asked for.
    """
    kept = store.networks.numbers().intersection(numbers)
    if not kept and not store.head.keeps_networks:
        return 0
    trials = stores.read(store, sorted(kept), "networks", delay=1)
    size, damaged = store.networks.unsound(trials)
    count = counted(len(kept) - len(damaged), "network is", "networks are")
    print(f"{count} kept and sound, {size / 1e6:,.1f} MB")
    for problem in damaged.values():
        print(problem.what if FLAGS.quarantine else problem)
    if FLAGS.quarantine:
        for path, target in compaction.quarantine_networks(store, damaged):
            print(f"moved {path} to {target}")
        kept, damaged = kept - damaged.keys(), {}
    if lacking := sorted(set(numbers) - kept):
        print(f"trials without a network: {runs(lacking)}")
    return 1 if damaged else 0


def report(
    store: Store,
    wanted: Sequence[range],
    there: Sequence[int],
    damaged: Mapping[int, DamagedFileError],
) -> int:
    """Prints which trials are there, damaged, or wanted and missing, and returns the exit code."""
    missing = sorted({trial for part in wanted for trial in part} - set(there))
    print(f"{len(there) - len(damaged):,} trials are there and sound")
    if missing:
        print(f"{len(missing):,} of {sum(map(len, wanted)):,} are missing: {runs(missing)}")
    log = logs.Logs(store.path / logs.FOLDER)
    for trial in missing:
        failure = log.failure(trial)
        if failure and failure.is_final:
            print(f"trial {trial} was given up: {failure.error}; log: {log.path(trial)}")
    others = store.disagreement(damaged)
    broken, _ = told_apart(damaged)
    archives = store.damaged_archives()
    for problem in [*broken.values(), *archives, *filter(None, [others])]:
        print(problem)
    needed = asked.needed([*missing, *broken], wanted)
    # What is trained before the others are out of the way may be of the wrong configuration.
    commands = [] if others else [store.command(part.start, part.stop) for part in needed]
    for command in dict.fromkeys(commands):
        print(f"to complete it, run: {command}")
    return 1 if needed or archives or others else 0


if __name__ == "__main__":
    with program.group("What is read and written"):
        arguments.define_store()
    with program.group("What is done"):
        arguments.define_text(
            "trials",
            "START:STOP that should be there; all that launches asked for so far by default.",
        )
        flags.DEFINE_bool("quarantine", False, "Move damaged files to STORE/quarantine.")
        flags.DEFINE_bool("watch", False, "Show how far the trials are, until all are there.")
    program.run(main)
