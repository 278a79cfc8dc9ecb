"""docs/python.md and docs/tour.ipynb do what they say."""

import os
import re

import nbformat
import pytest

from tests.conftest import ROOT, run_program

NOTEBOOK = ROOT / "docs" / "tour.ipynb"
_FOUND = r"So (\d+) of the (\d+) wrong labels are found\.\nFor (\d+) of these"
# Folders that machines keep homes, temporary files and programs in.
_PLACES = r"(?<![\w.:/])(?:/(?:home|root|tmp|Users|work|usr|opt|var|mnt)/|[A-Z]:\\)"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def said(notebook):
    return "".join(output.text for output in outputs(notebook) if output.output_type == "stream")


def assert_sound(notebook):
    """Asserts that every cell has run in order, and shows what it is about and nothing else."""
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, 1 + len(cells)))
    assert all(cell.outputs for cell in cells)
    assert {output.output_type for output in outputs(notebook)} == {"stream", "execute_result"}
    assert {output.get("name", "stdout") for output in outputs(notebook)} == {"stdout"}
    kinds = [kind for output in outputs(notebook) for kind in output.get("data", {})]
    assert kinds.count("image/png") == 3  # A histogram, and twice the most memorized.
    assert kinds.count("text/html") == 5  # What it is, and four tables.


def test_the_notebook_has_run_and_is_of_no_machine(notebook):
    for cell in code_cells(notebook):
        compile(cell.source, cell.id, "exec")
    assert_sound(notebook)
    text = NOTEBOOK.read_text()
    assert len(text) < 500_000
    texts = re.sub(r'"image/png": ".*?"', "", text)
    assert not re.findall(_PLACES, texts)
    assert re.findall(r"Warning|Traceback|tensorflow", texts) == []
    assert re.search(_FOUND, said(notebook)).groups() == ("90", "90", "90")


@pytest.mark.slow
def test_the_notebook_runs(notebook, tmp_path, monkeypatch):
    """A minute: it trains 200 trials. Other machines may find a few more or fewer labels."""
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    assert_sound(notebook)
    assert (tmp_path / "store_notebook" / "experiment.json").exists()
    found, wrong, right = map(int, re.search(_FOUND, said(notebook)).groups())
    assert wrong == 90  # Of 100 random labels 10 are the true ones.
    assert min(found, right) >= 85


def test_the_examples_of_the_page(random_subsets, tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "python.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 9
    store = random_subsets.store.path
    (tmp_path / "store").symlink_to(store)
    run_program("analysis.estimate", f"--store={store}", f"--out={tmp_path / 'estimates.npz'}")
    monkeypatch.chdir(tmp_path)
    names = {}
    for example in examples:
        exec(example, names)
    assert "source: store, dataset: digits, trials: 12" in capsys.readouterr().out
    assert set(names["table"]["class"]) == {"3"}
    assert len(names["table"]) == 20
