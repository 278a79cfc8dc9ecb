r"""Makes a store from somebody else's trials.

    tfmem import_trials --format=arrays --source=trials.npz --store=STORE
    tfmem import_trials --format=arrays --source='runs/*-infl-mem.npz' \
        --dataset=cifar10 --store=STORE
    tfmem import_trials --format=heldout --source=cifar100-inception/0.7 \
        --dataset=cifar100 --store=STORE
    tfmem import_trials --format=datamodels --source=FOLDER --dataset=cifar10 \
        --store=STORE

arrays: npz files with `subset_mask` bool [t, n] (which trial was trained on which example),
`train_correct` bool [t, n], `test_correct` bool [t, n'], and, where they are known, `train_labels`
int [n] and `test_labels` int [n'], `train_predicted` int [t, n] and `test_predicted` int [t, n'].
Or with the names of the authors' script for MNIST and its adaptations: `trainset_mask`,
`trainset_correctness`, `testset_correctness`, `trainset_predictions` and `testset_predictions`. A
file of one trial may have [n] and [n']. The source is a file, a folder of files or a glob in
quotes. Labels that neither the files nor --dataset nor --labels has are what trials predict where
they are right. The same trial twice, by equal masks, is refused.

heldout: the runs that the paper's authors released. The source is the folder of an experiment and
subset ratio, with RUN/aux_arrays.npz in it; folders above will do where there is but one ratio.
Runs are numbered from 0 in ascending order of their names, as numbers if all of them are: of runs
0, 1, ..., 999 trial k is run k. tfmem.imports.released.find_runs lists them in that order.

datamodels: a folder as Ilyas et al. (2022) publish it, with `train_masks.npy` bool [t, n], and
`train_margins.npy` and `test_margins.npy` float16 [t, n] and [t, n']: above 0 the model is right.
Names may end alike, as in `train_masks_50pct.npy`; of several, give the masks as the source.

With --dataset, the examples are those of a dataset of ours, in its order, and the report can show
their pictures. Labels that the source has are checked. heldout and datamodels have none, and arrays
may have none: those of --dataset are taken, or those of --labels, an npz file with `train_labels`
and `test_labels` (or `tr_labels` and `tt_labels`, as in the authors' imagenet_index.npz). If that
file names the examples too (`train_ids` and `test_ids`, or `tr_filenames` and `tt_filenames`), a
source in that order is brought into the order of --dataset.

A source is told from others by its content. Trials that are in the store already are skipped.
"""

from absl import flags

from analysis.cli import arguments, program
from launchers.cli import launching
from tfmem import datasets
from tfmem.config import ImportConfig
from tfmem.disk import atomic
from tfmem.imports import FORMATS
from tfmem.imports.examples import (
    Examples,
    Labels,
    class_difference_by_chance,
    find_examples,
    read_labels,
)
from tfmem.imports.source import Source
from tfmem.store.store import Store

FLAGS = flags.FLAGS
_SUSPICIOUS = 0.01
_GIVE_LABELS = (
    "give --dataset, such as cifar100, or --labels=FILE.npz with train_labels and test_labels"
)


def import_missing(store: Store, source: Source, examples: Examples) -> None:
    """Stores the trials of a source that the store lacks, or has damaged.

    Raises:
      ValueError: a trial is not as it should be; those before it are stored.
    """
    wanted, _ = store.missing_trials(range(source.num_trials))
    stored = 0
    with program.progress_bar(source.num_trials, "trials") as progress:
        progress(source.num_trials - len(wanted))
        try:
            for trial in source.trials(wanted):
                store.write(examples.in_order(trial))
                stored += 1
                progress(1)
        except ValueError as error:
            raise ValueError(
                f"{error}; {source.num_trials - len(wanted) + stored} of {source.num_trials} "
                f"trials are in {store.path}, and the same command continues once that file is as "
                "it was published"
            ) from error


def find_labels(source: Source) -> Labels | None:
    """Returns labels in the order of a source; None if they are to be those of --dataset.

    Raises:
      ValueError: nothing says what they are, or both the source and --labels do.
    """
    if FLAGS.labels and source.labels is not None:
        raise ValueError(f"--labels has no effect: {FLAGS.source} has labels")
    if FLAGS.labels:
        return read_labels(FLAGS.labels)
    if source.labels is not None or FLAGS.dataset:
        return source.labels
    with program.progress_bar(100, "% of the predictions read", delay=2) as progress:
        found = source.fixed_labels(lambda share: progress(100 * share))
    if found is None:
        raise ValueError(f"{FLAGS.source} has neither labels nor predictions: {_GIVE_LABELS}")
    return found


def main() -> None:
    layout = FORMATS[FLAGS.format]
    if FLAGS.dataset:
        datasets.require_known(FLAGS.dataset)
    if not layout.has_labels and not FLAGS.dataset and not FLAGS.labels:
        raise ValueError(f"--format={FLAGS.format} has no labels: {_GIVE_LABELS}")
    source = layout.open(FLAGS.source)
    examples = find_examples(find_labels(source), FLAGS.dataset, FLAGS.data_dir)
    dataset = examples.dataset
    with program.progress_bar(100, "% of the source checked", delay=2) as progress:
        digest = source.check(*examples.source_labels, lambda share: progress(100 * share))
    config = ImportConfig(
        format=FLAGS.format,
        source=atomic.absolute(FLAGS.source),
        source_digest=examples.digest(digest),
        dataset=datasets.located(FLAGS.dataset),
        num_trials=source.num_trials,
        labels=atomic.absolute(FLAGS.labels) if FLAGS.labels else "",
    )
    store = Store.create(FLAGS.store, config, dataset, launching.command("import_trials"))
    import_missing(store, source, examples)
    print(f"{source.num_trials:,} trials in {store.path}")
    if source.labels is None and (FLAGS.dataset or FLAGS.labels):
        chance = class_difference_by_chance(store.read(0), dataset)
        if chance is not None and chance > _SUSPICIOUS:
            print(
                "CAUTION: no class is harder than another in trial 0, as if labels were shuffled "
                f"(p = {chance:.2g}): does the source count examples in another order? --labels "
                "with ids says in which"
            )


if __name__ == "__main__":
    with program.group("What is read and written"):
        text = "Layout of the source."
        flags.DEFINE_enum("format", None, list(FORMATS), text, required=True)
        arguments.define_path(
            "source", "The file, the folder or the glob, see above.", required=True
        )
        text = "Directory of the store; made if it is not there."
        arguments.define_path("store", text, required=True)
        arguments.define_dataset("Dataset that the examples belong to", default="")
        text = "npz file of labels, and ids if it has them, in the order of the source."
        arguments.define_path("labels", text)
        arguments.define_data_dir()
    program.run(main)
