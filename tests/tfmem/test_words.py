import pytest

from tfmem.words import counted, duration, number, table


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.01234, "0.0123 s"),
        (119, "119 s"),
        (120, "2.0 min"),
        (7199, "120.0 min"),
        (27_000, "7.5 h"),
        (172_799, "48.0 h"),
        (172_800, "2.0 days"),
        (107_136_000, "1,240.0 days"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_counts():
    assert [counted(n, "trial") for n in (0, 1, 2, 2000)] == [
        *("0 trials", "1 trial", "2 trials", "2,000 trials")
    ]
    assert [counted(n, "class", "classes") for n in (1, 3)] == ["1 class", "3 classes"]


def test_numbers():
    assert number(0.12349) == "0.123"
    assert number(1234.5, ",.0f") == "1,234"
    assert number(0.5, ".1%") == "50.0%"
    assert number(float("nan")) == number(None) == "-"
    assert number(float("nan"), unknown="?") == "?"


def test_a_table_is_aligned():
    rows = [("name", "trials", ""), ("a", "1,000", "x"), ("longer", "2", "")]
    assert table(rows).splitlines() == ["name    trials", "a        1,000  x", "longer       2"]
    assert table([("a", "b"), ("cc", "dd")], left=2) == "a   b\ncc  dd"
    assert table([]) == ""
