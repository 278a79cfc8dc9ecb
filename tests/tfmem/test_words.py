import pytest

from tfmem.words import duration


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
