"""What TensorFlow is told before it is imported."""

import os

import pytest

from tests.programs import ROOT, run_process
from tfmem import quiet

_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


@pytest.mark.parametrize(
    ("machine", "given", "expected"),
    [
        ("x86_64", None, "1"),
        ("AMD64", None, "1"),  # As Windows calls it.
        ("x86_64", "0", "0"),  # The user's own setting wins.
        ("aarch64", None, None),
        ("arm64", "1", "1"),
    ],
)
def test_onednn_is_on_where_a_cpu_gains_by_it(machine, given, expected, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setenv(_ONEDNN, "")  # So that it is as it was afterwards, whatever is set here.
    monkeypatch.delenv(_ONEDNN)
    if given is not None:
        monkeypatch.setenv(_ONEDNN, given)
    quiet.import_tensorflow()
    assert os.environ.get(_ONEDNN) == expected


@pytest.mark.parametrize(
    ("before", "found"),
    [
        ("quiet.in_program()", []),
        ("quiet.in_program(); import pandas", ["pandas"]),
        # As in a notebook, which may use all of Keras.
        ("pass", ["matplotlib", "pandas", "sklearn"]),
    ],
)
def test_a_program_does_not_wait_for_what_keras_takes_along(before, found, tmp_path):
    for name in ("matplotlib", "pandas", "sklearn"):
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "tensorflow.py").write_text(
        "found = []\n"
        "for name in ('matplotlib', 'pandas', 'sklearn'):\n"
        "    try:\n"
        "        __import__(name)\n"
        "        found.append(name)\n"
        "    except ImportError:\n"
        "        pass\n"
    )
    (tmp_path / "uses_it.py").write_text(
        f"import gc; from tfmem import quiet; {before}\n"
        "quiet.import_tensorflow(find_devices=False)\n"
        "frozen = gc.get_freeze_count()\n"
        "quiet.import_tensorflow(find_devices=False)\n"  # What came since may be garbage.
        "assert gc.isenabled() and gc.get_freeze_count() == frozen\n"
        "import matplotlib, pandas, sklearn, tensorflow\n"  # Afterwards all can be imported.
        "print(tensorflow.found, frozen > 0)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = run_process("uses_it", env={**os.environ, "PYTHONPATH": path})
    assert done.stdout == f"{found} {before != 'pass'}\n"
