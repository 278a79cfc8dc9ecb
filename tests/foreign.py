"""Trials in the files that other people publish them in."""

import numpy as np

SPLITS = ("train", "test")


def released_run(subset, train_correct, test_correct, rng):
    """Returns the arrays of one released run, each split in an order of its own."""
    train, removed = (rng.permutation(np.flatnonzero(mask)) for mask in (subset, ~subset))
    test = rng.permutation(len(test_correct))
    return {
        "correctness_train": train_correct[train],
        "index_train": train,
        "correctness_removed": train_correct[removed],
        "index_removed": removed,
        "correctness_test": test_correct[test],
        "index_test": test,
        "subsample_idx": rng.permutation(np.flatnonzero(subset)),
    }


def write_released_runs(folder, names, arrays, rng):
    """Writes row k of the matrices as the run `names[k]`, and what else is in such a folder."""
    matrices = (arrays[name] for name in ("subset_mask", "train_correct", "test_correct"))
    for name, *row in zip(names, *matrices, strict=True):
        (folder / name / "checkpoints").mkdir(parents=True)
        (folder / name / "checkpoints" / "ckpt-160.index").write_bytes(b"weights")
        np.savez(folder / name / "aux_arrays.npz", **released_run(*row, rng))


def write_datamodels(folder, arrays, rng, ending=""):
    """Writes the matrices as masks and float16 margins of the right sign."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"train_masks{ending}.npy", arrays["subset_mask"])
    for split in SPLITS:
        correct = arrays[f"{split}_correct"]
        margins = rng.uniform(0.01, 5, correct.shape) * np.where(correct, 1, -1)
        np.save(folder / f"{split}_margins{ending}.npy", margins.astype(np.float16))


def random_arrays(rng, trials, train, test, classes=2):
    """Returns an `arrays` source in which every trial saw 70% of the training examples."""
    subset = np.argsort(rng.random((trials, train)), axis=1) < round(0.7 * train)
    return {
        "subset_mask": subset,
        "train_correct": (rng.random((trials, train)) < 0.5) | subset,
        "test_correct": rng.random((trials, test)) < 0.7,
        "train_labels": np.arange(train) % classes,
        "test_labels": np.arange(test) % classes,
    }


def script_arrays(arrays, rng, right=np.float32):
    """Returns `arrays` as the authors' script names them, with predictions that fit the labels."""
    made = {"trainset_mask": arrays["subset_mask"]}
    for split in SPLITS:
        correct, labels = arrays[f"{split}_correct"], arrays[f"{split}_labels"]
        classes = labels.max() + 1
        other = (labels + rng.integers(1, classes, correct.shape)) % classes
        made[f"{split}set_correctness"] = correct.astype(right)
        made[f"{split}set_predictions"] = np.where(correct, labels, other)
    return made


def write_script_runs(folder, content, runs_a_file, save=np.savez):
    """Writes all rows of the arrays in files of some runs each; arrays of a single run are 1-d."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(content["trainset_mask"]), runs_a_file):
        rows = slice(start, start + runs_a_file)
        own = {name: array[rows] for name, array in content.items()}
        if runs_a_file == 1:
            own = {name: array[0] for name, array in own.items()}
        save(folder / f"mlp-{start}-{start + runs_a_file - 1}-infl-mem.npz", **own)


def script_estimates(content):
    """Returns memorization [n] and influence [n', n] by the formula of the authors' script."""
    mask = content["trainset_mask"].astype(np.float32)
    train, test = (content[f"{split}set_correctness"].astype(np.float32) for split in SPLITS)

    def average(of_mask):
        times = np.maximum(of_mask.sum(axis=0), 1e-10)
        return (train * of_mask).sum(axis=0) / times, test.T @ of_mask / times

    seen, unseen = average(mask), average(1 - mask)
    return seen[0] - unseen[0], seen[1] - unseen[1]
