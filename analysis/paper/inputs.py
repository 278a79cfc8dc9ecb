"""What the inputs of the table of the paper's numbers tell."""

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging
from etils import epath

from analysis.cli.stores import HOLDS, config_of, load, read, usable
from analysis.estimates import files, known_pairs
from analysis.estimates.values import CORRECTNESS, Estimates, Pairs
from analysis.measures import agreement, removal
from analysis.paper import numbers, published
from analysis.paper.rows import Findings
from tfmem import datasets, experiments, words
from tfmem.config import EvaluationConfig, ImportConfig, LastLayerConfig, RemovalConfig
from tfmem.recipe import ExperimentConfig
from tfmem.store import representations
from tfmem.store.store import Store

_OF_ARCHITECTURES = "cifar100"  # Sec. 3.5: the dataset that they are compared on.
_STORES_OF = {
    **HOLDS,
    ExperimentConfig.kind: "trials",
    EvaluationConfig.kind: "trials evaluated on another test set",
    ImportConfig.kind: "imported trials",
    LastLayerConfig.kind: "trials of the last layer",
    RemovalConfig.kind: "removal runs",
}
# Flag -> what follows the equals sign, and what it answers.
INPUTS = {
    "estimates": ("DATASET=PATH", "Estimates file: memorization, pairs, test accuracy."),
    "pairs": ("DATASET=PATH", "Pairs file, where there are no estimates of the influence."),
    "store": ("DATASET=STORE", "Store of trials: test accuracy, time of a trial."),
    "known_pairs": (
        "DATASET=PATH",
        "Pairs that people judged to be duplicates, a csv file: with --estimates, how many of the "
        "pairs of very high influence are known.",
    ),
    "removal": ("DATASET=STORE", "Store of tfmem train_removal: what examples are worth."),
    "runs": ("DATASET=PATH,PATH", "Two estimates files of different trials: how they agree."),
    "architecture": (
        "NAME=PATH",
        f"Estimates file of an architecture on {_OF_ARCHITECTURES}: "
        f"{', '.join(published.ARCHITECTURES)}.",
    ),
    "last_layer": ("DATASET=PATH", "Estimates file of linear models on features."),
    "last_layer_store": (
        "DATASET=STORE",
        "Store of tfmem train_last_layer: its accuracies; with --store, how much faster.",
    ),
}


def _read(path: str) -> Estimates:
    found = files.read(path)
    for line in found.unknown_lines():
        logging.warning("%s: %s", path, line)
    return found


def _named(flag: str, texts: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Returns, by the name that each text begins with, what follows and the flag as it was given.

    Raises:
      ValueError: there is no name, or a name or what follows is there twice.
    """
    found: dict[str, tuple[str, str]] = {}
    for text in texts:
        name, _, rest = text.partition("=")
        source = f"--{flag}={text}"
        if not name or not rest:
            raise ValueError(f"{source}: expected --{flag}={INPUTS[flag][0]}")
        if name in found:
            raise ValueError(f"--{flag} is given twice for {name}: {found[name][0]} and {rest}")
        for other, (known, _) in found.items():
            if known == rest:
                raise ValueError(f"--{flag} is given the same for {other} and {name}: {rest}")
        if flag == "architecture":
            words.lookup(published.ARCHITECTURES, name, flag)
        else:
            datasets.require_known(name)
        found[name] = (rest, source)
    return found


def _two_paths(text: str, source: str) -> tuple[str, str]:
    """Splits `PATH,PATH`; ValueError if it is not two different ones."""
    paths = text.split(",")
    if len(paths) != 2 or not all(paths):
        raise ValueError(f"{source}: expected two files, --runs={INPUTS['runs'][0]}")
    if paths[0] == paths[1]:
        raise ValueError(f"{source}: the two runs are the same file")
    return paths[0], paths[1]


def collect(
    given: Mapping[str, Sequence[str]], allow_missing: bool = False
) -> tuple[Findings, list[str]]:
    """Returns what inputs tell, and the datasets in them that the paper does not have.

    Args:
      given: by flag, the texts that it was given with.
      allow_missing: whether damaged trials of stores are passed over.

    Raises:
      ValueError: an input is not what its flag takes, or is of another dataset.
    """
    named = {flag: _named(flag, given.get(flag, ())) for flag in INPUTS}
    findings = Findings()
    collector = _Collector(named, findings, allow_missing)
    # A store is read first: where estimates of it answer the same question, it does.
    for flag in sorted(named, key=lambda flag: not flag.endswith("store")):
        for name, (path, source) in named[flag].items():
            getattr(collector, flag)(name, path, source)
    datasets_given = (name for flag in named if flag != "architecture" for name in named[flag])
    others = [name for name in dict.fromkeys(datasets_given) if name not in published.RESULTS]
    return findings, others


class _Collector:
    """Adds what an input tells, by itself and beside the others of its dataset, to the findings.

    Every flag has its method, which takes a name, the path that was given for it, and the flag as
    it was given, for messages.
    """

    def __init__(
        self,
        named: Mapping[str, Mapping[str, tuple[str, str]]],
        findings: Findings,
        allow_missing: bool,
    ):
        """Takes, by flag and name, the paths and the flags as they were given."""
        self._allow_missing = allow_missing
        self._named = named
        self._add = findings.add
        self._sizes = dict(published.SIZES)  # All inputs of a dataset have as many examples.
        self._read = functools.cache(_read)  # One file may answer two flags.
        self._seconds: dict[str, np.ndarray] = {}
        for value in named["runs"].values():
            _two_paths(*value)  # What is wrong is said before anything is read.

    def store(self, dataset: str, path: str, source: str) -> None:
        kinds = (ExperimentConfig.kind, ImportConfig.kind)
        store = self._open(dataset, path, source, kinds)
        accuracies, self._seconds[dataset] = _trials(store, self._allow_missing)
        self._add(dataset, {"trials_accuracy": numbers.percent_mean(accuracies)}, source)

    def estimates(self, dataset: str, path: str, source: str) -> None:
        found = self._read_estimates(dataset, path, source)
        self._add(dataset, numbers.estimates_numbers(found), source)

    def pairs(self, dataset: str, path: str, source: str) -> None:
        given = self._named["estimates"].get(dataset)
        if given is not None and self._read_estimates(dataset, *given).influences:
            raise ValueError(
                f"{source}: {given[1]} has the pairs too, with their errors: give one of the two"
            )
        found = self._read_pairs(dataset, path, source)
        _, num_test = self._sizes.get(dataset, (None, None))
        self._add(dataset, numbers.pair_numbers(found, num_test=num_test), source)

    def known_pairs(self, dataset: str, path: str, source: str) -> None:
        given = self._named["estimates"].get(dataset)
        if given is None:
            raise ValueError(
                f"{source} is compared with estimates of {dataset}: --estimates={dataset}=PATH "
                "gives them"
            )
        estimates = self._read_estimates(dataset, *given)
        estimates.require_influences(given[1])
        try:
            known = known_pairs.read(path, estimates.train_labels, estimates.test_labels)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        self._add(dataset, numbers.known_numbers(estimates, known), given[1], source)

    def removal(self, dataset: str, path: str, source: str) -> None:
        store = self._open(dataset, path, source, [RemovalConfig.kind])
        moved, _ = self._named["estimates"].get(dataset, (None, None))
        self._add(dataset, _removal_numbers(store, source, moved, self._allow_missing), source)

    def runs(self, dataset: str, path: str, source: str) -> None:
        paths = _two_paths(path, source)
        a, b = (self._read_estimates(dataset, one, source) for one in paths)
        agreement.require_same_examples(a, b, *paths)
        self._add(dataset, numbers.runs_numbers(a, b), source)

    def architecture(self, name: str, path: str, source: str) -> None:
        dataset, given = _OF_ARCHITECTURES, self._named["architecture"].get(published.REFERENCE)
        found = self._read_estimates(dataset, path, source)
        self._add(dataset, numbers.architecture_numbers(name, found), source)
        if given is not None and name != published.REFERENCE:
            reference = self._read_estimates(dataset, *given)
            agreement.require_same_examples(found, reference, source, given[1])
            agreeing = numbers.architecture_agreement(name, found, reference)
            self._add(dataset, agreeing, source, given[1])

    def last_layer_store(self, dataset: str, path: str, source: str) -> None:
        store = self._open(dataset, path, source, [LastLayerConfig.kind])
        accuracies, seconds = _trials(store, self._allow_missing)
        folder, network = store.path / representations.FOLDER, math.nan
        if representations.exist(folder):
            network = representations.read_about(folder).test_accuracy
        self._add(dataset, numbers.last_layer_store_numbers(accuracies, network), source)
        if dataset in self._seconds:
            faster = numbers.speedup(self._seconds[dataset], seconds)
            self._add(dataset, faster, self._named["store"][dataset][1], source)

    def last_layer(self, dataset: str, path: str, source: str) -> None:
        linear = self._read_estimates(dataset, path, source)
        self._add(dataset, numbers.last_layer_numbers(linear), source)
        if given := self._named["estimates"].get(dataset):
            whole = self._read_estimates(dataset, *given)
            agreement.require_same_examples(whole, linear, given[1], source)
            self._add(dataset, numbers.last_layer_agreement(whole, linear), given[1], source)

    def _read_estimates(self, dataset: str, path: str, source: str) -> Estimates:
        """Reads an estimates file, with the influence of every class or of none."""
        try:
            found = self._read(path)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        if found.estimator != CORRECTNESS:
            raise ValueError(
                f"{source} is estimated from the {found.estimator} of the true label, and the "
                f"paper's numbers from {CORRECTNESS}: make it with tfmem estimate "
                f"--estimator={CORRECTNESS}"
            )
        self._check(dataset, (len(found.train_labels), len(found.test_labels)), source)
        if found.influences:
            found.require_influences(source)
        return found

    def _read_pairs(self, dataset: str, path: str, source: str) -> Pairs:
        try:
            found = files.read_pairs(path)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        if dataset in self._sizes:
            parts = ("training", found.train_index), ("test", found.test_index)
            for (what, index), size in zip(parts, self._sizes[dataset], strict=True):
                if index.max(initial=-1) >= size:
                    raise ValueError(
                        f"{source} has a pair of {what} example {index.max():,}, {dataset} has "
                        f"{size:,} of them: another dataset?"
                    )
        return found

    def _open(self, dataset: str, path: str, source: str, kinds: Sequence[str]) -> Store:
        """Opens a store of one of these kinds."""
        found = Store.open(path)
        config = found.config
        if config.kind not in kinds:
            raise ValueError(
                f"{source} is a store of {_STORES_OF[config.kind]}, expected "
                f"{' or '.join(_STORES_OF[kind] for kind in kinds)}"
            )
        if config.dataset not in ("", dataset):
            raise ValueError(f"{source} is a store of {config.dataset}, not of {dataset}")
        self._check(dataset, (len(found.dataset.train), len(found.dataset.test)), source)
        return found

    def _check(self, dataset: str, sizes: tuple[int, int], source: str) -> None:
        """Raises ValueError if an input has other numbers of examples than its dataset."""
        expected = self._sizes.setdefault(dataset, sizes)
        if sizes != expected:
            raise ValueError(
                f"{source} has {sizes[0]:,} training and {sizes[1]:,} test examples, {dataset} has "
                f"{expected[0]:,} and {expected[1]:,}: another dataset?"
            )


def _trials(store: Store, allow_missing: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns test accuracy and seconds of each trial, float [t]; seconds nan where unknown."""
    finished = usable(store, allow_missing)
    if not finished:
        raise ValueError(f"{store.path} has no finished trials yet: {store.command()}")
    trials = read(store, finished, f"trials of {store.path.name}")
    found = [(trial.test_accuracy, trial.seconds) for trial in trials]
    accuracies, seconds = np.array(found, float).T
    return accuracies, seconds


def _removal_numbers(
    store: Store, source: str, moved: str | None, allow_missing: bool
) -> numbers.Numbers:
    """Reads removal runs.

    Args:
      store: of them.
      source: its flag, for messages.
      moved: an estimates file of the dataset, in case that of the runs is not where it was.
      allow_missing: whether damaged runs are passed over.
    """
    config, pairs = config_of(store, RemovalConfig), None
    if config.high_influence:
        thresholds = config.mem_threshold, config.infl_threshold
        if thresholds == (experiments.MEM_THRESHOLD, experiments.INFL_THRESHOLD):
            path = config.estimates
            if not epath.Path(path).exists():
                if moved is None:
                    raise ValueError(
                        f"{source}: {path}, which says whom the removed examples influence, does "
                        "not exist: --estimates=DATASET=PATH says where it is now"
                    )
                path = moved
            pairs = removal.read_pairs(config, path)
        else:
            logging.warning(
                "%s: its pairs have mem >= %g and infl >= %g, unlike the paper's; what they are "
                "worth is left out",
                source,
                *thresholds,
            )
    trials = load(store, usable(store, allow_missing), f"runs of {store.path.name}")
    return numbers.removal_numbers(removal.group(config, trials), pairs)
