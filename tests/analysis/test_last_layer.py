"""Sec. 3.6: its numbers beside the paper's, counted by hand; the program through its flags."""

import dataclasses
import json
import math

import numpy as np
from PIL import Image

from analysis.measures.comparison import compare
from analysis.paper import last_layer
from tests.analysis.measures.test_agreement import A, B, estimates
from tests.analysis.test_consistency import squeezed, write
from tests.conftest import run_program
from tfmem.store import representations

WHOLE = dataclasses.replace(A, test_accuracy=0.723, test_accuracy_deviation=0.0031)
LINEAR = dataclasses.replace(B, test_accuracy=0.7584, test_accuracy_deviation=0.001)


def test_numbers_beside_the_papers():
    """mem >= 0.25: {0, 1, 3} and {0, 2, 3}; pairs count whatever is memorized: 6 and 4."""
    found = compare(WHOLE, LINEAR, "linear", only_memorized=False)
    assert squeezed(last_layer.paper_table(WHOLE, LINEAR, found, 0.7594)) == [
        "here paper, CIFAR-100",
        "test accuracy of whole networks 72.3 ± 0.3% 72.3 ± 0.3%",
        "test accuracy of the network on all examples 75.9% 75.9%",
        "test accuracy of linear classifiers on its features 75.8 ± 0.1% 75.8 ± 0.1%",
        "examples with mem >= 0.25, whole networks 3 18,099",
        "examples with mem >= 0.25, linear classifiers 3 38",
        "pairs with infl >= 0.15, whole networks 6 -",
        "pairs with infl >= 0.15, linear classifiers 4 457",
    ]


def test_what_is_not_known_is_a_dash():
    """At other thresholds the paper has no numbers, and published files no accuracies."""
    found = compare(A, B, "linear", 0.6, 0.5, only_memorized=False)
    assert squeezed(last_layer.paper_table(A, B, found, math.nan))[1:] == [
        "test accuracy of whole networks - 72.3 ± 0.3%",
        "test accuracy of the network on all examples - 75.9%",
        "test accuracy of linear classifiers on its features - 75.8 ± 0.1%",
        "examples with mem >= 0.6, whole networks 1 -",
        "examples with mem >= 0.6, linear classifiers 2 -",
        "pairs with infl >= 0.5, whole networks 3 -",
        "pairs with infl >= 0.5, linear classifiers 2 -",
    ]


def test_the_program(tmp_path):
    whole, linear = write(tmp_path / "whole.npz", A), write(tmp_path / "linear.npz", B)
    about = representations.About({}, "", "", 0.99, 0.814, 1.0)
    folder = tmp_path / "store" / representations.FOLDER
    folder.mkdir(parents=True)
    np.savez(folder / "features.npz", about=np.array(json.dumps(dataclasses.asdict(about))))
    out = tmp_path / "fig8.png"
    done = run_program(
        "analysis.last_layer",
        f"--estimates={whole}",
        f"--last_layer={linear}",
        f"--last_layer_store={tmp_path / 'store'}",
        f"--out={out}",
    )
    lines = squeezed(done.stdout)
    assert "test accuracy of the network on all examples 81.4% 75.9%" in lines
    assert "pairs with infl >= 0.15, linear classifiers 4 457" in lines
    assert (
        "pairs with infl >= 0.15: 6 in a, 4 in b, 50% of a's also in b, 75% of b's also in a; "
        "Jaccard similarity 0.429, mean difference 0.407" in lines
    )
    assert Image.open(out).size[0] > 1000


def test_other_examples_and_absent_features_get_one_line(tmp_path):
    whole = write(tmp_path / "whole.npz", A)
    relabelled = estimates(A.memorization, np.zeros((4, 3)), test_labels=np.array([0, 1, 1]))
    for linear, store, words in (
        (relabelled, (), "test example 1 has the label 0 in --estimates and 1 in --last_layer"),
        (B, (f"--last_layer_store={tmp_path}",), "features.npz does not exist"),
    ):
        path = write(tmp_path / "linear.npz", linear)
        done = run_program(
            "analysis.last_layer",
            f"--estimates={whole}",
            f"--last_layer={path}",
            *store,
            check=False,
        )
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
