"""What TensorFlow is told before it is imported."""

import os

import pytest

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
