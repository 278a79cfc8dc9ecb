"""How fast trials are being stored, and what one costs: from what a store holds already."""

import contextlib
import time

import numpy as np

from tfmem.store.store import Store

_MOST_FILES = 2_000  # Asked for their times.
_WINDOW = 100  # The last trials, from which the pace is taken,
_WINDOW_SECONDS = 20  # and more of them where they are from less time than this.
_IDLE_SECONDS = 600  # Without a new trial: nothing is being trained any more.
_IDLE_GAPS = 3  # The same, in gaps between trials or stacks of them, where those take longer.
# Files less than this share of the window's time apart were stored together: trials of one stack.
_TOGETHER = 0.005
_MOST_READ = 20  # Trials, for what one costs.


def trials_per_hour(store: Store, now: float | None = None) -> float | None:
    """Returns how many trials an hour are being stored at present.

    It is the number of trials after the first of a window, by the time since the first. The window
    is the last 100 trials, or more of them where those are from less than 20 seconds; a pause
    within it counts as time. Trials of one stack are stored together: where the window begins with
    a stack, all of it is the first. Trials need not be stored in the order of their numbers: all
    files are asked for their times, or where there are more than 2,000, those with the highest
    numbers.

    Args:
      store: of trials; those without a file of their own, in an archive, do not count.
      now: seconds since 1970; the present by default.

    Returns:
      None where nothing is being trained at present: nothing was stored for 10 minutes before
      `now`, nor for three times as long as it took from trial to trial, or from stack to stack;
      where the trials were imported; and where they do not tell yet, being fewer than 3 or from
      less than 20 seconds.
    """
    if store.config.kind == "import":
        return None
    now = time.time() if now is None else now
    found = []
    for number in store.numbers()[-_MOST_FILES:]:
        with contextlib.suppress(FileNotFoundError):  # It went into an archive meanwhile.
            found.append(int(store.trial_path(number).stat().mtime))
    times = np.sort(found)
    if len(times) < 3 or times[-1] - times[0] < _WINDOW_SECONDS:
        return None
    newest = times[-1]
    start = min(times[-_WINDOW:][0], times[times <= newest - _WINDOW_SECONDS][-1])
    window = times[times >= start]
    together = _TOGETHER * (newest - start)
    ends = window[:-1][np.diff(window) > together]  # Of each stack but the newest.
    if now - newest > max(_IDLE_SECONDS, _IDLE_GAPS * (newest - start) / len(ends)):
        return None
    return float(3600 * np.count_nonzero(window > ends[0]) / (newest - ends[0]))


def seconds_a_trial(store: Store) -> float | None:
    """Returns what a trial costs in seconds: the mean of 20 trials evenly spread over the numbers.

    Returns:
      None where no trial's source knew it.

    Raises:
      StoreError: a trial of the 20 is damaged.
    """
    numbers = store.numbers()
    if not numbers:
        return None
    chosen = np.linspace(0, len(numbers) - 1, min(len(numbers), _MOST_READ)).round().astype(int)
    seconds = [store.read(numbers[index]).seconds for index in chosen]
    known = [second for second in seconds if second is not None]
    return sum(known) / len(known) if known else None
