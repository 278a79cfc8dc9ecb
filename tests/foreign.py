"""Trials in the files that other people publish them in."""

import numpy as np


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
    for split in ("train", "test"):
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
