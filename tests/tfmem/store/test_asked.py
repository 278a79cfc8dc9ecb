"""Which trials were asked for."""

import itertools

import hypothesis
import hypothesis.strategies as st
import pytest

from tfmem.store import asked

_ranges = st.lists(st.builds(range, st.integers(0, 30), st.integers(0, 30)), max_size=6)


def test_ranges_that_touch_are_one():
    parts = [range(6, 8), range(0, 3), range(3, 4), range(7, 7), range(2, 4)]
    assert asked.union(parts) == [range(0, 4), range(6, 8)]
    assert asked.encode(parts) == [[0, 4], [6, 8]]
    assert asked.decode([[0, 4], [6, 8]]) == [range(0, 4), range(6, 8)]
    assert asked.decode([]) == []


@hypothesis.given(_ranges)
def test_a_union_has_what_its_parts_have(parts):
    found = asked.union(parts)
    trials = {trial for part in parts for trial in part}
    assert [trial for part in found for trial in part] == sorted(trials)
    assert all(left.stop < right.start for left, right in itertools.pairwise(found))


def test_what_is_needed_is_trained_and_nothing_that_nobody_asked_for():
    parts = [range(0, 10), range(20, 30)]
    assert asked.needed([], parts) == []
    assert asked.needed([8, 3], parts) == [range(3, 9)]
    assert asked.needed([3, 8, 29], parts) == [range(3, 9), range(29, 30)]
    # 10 and 15 are damaged, and were asked for by somebody else.
    assert asked.needed([8, 10, 15], parts) == [range(8, 11), range(15, 16)]


@hypothesis.given(_ranges, st.sets(st.integers(0, 30)))
def test_needed_ranges_hold_what_is_needed(parts, trials):
    found = {trial for part in asked.needed(trials, parts) for trial in part}
    assert trials <= found <= trials | {trial for part in parts for trial in part}


@pytest.mark.parametrize(
    "content", [5, None, "0:5", [[0]], [[0, "5"]], [[5, 0]], [[0, 0]], [[-1, 2]], [[3, 5], [0, 4]]]
)
def test_what_says_nothing_is_refused(content):
    with pytest.raises(ValueError, match=r"^asked is .*, expected .*\[\[START, STOP\], \.\.\.\]$"):
        asked.decode(content)
