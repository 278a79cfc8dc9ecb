"""The same run twice among the trials of a source: it would count twice."""

import hashlib

import numpy as np

# Random masks that are expected to agree in fewer pairs of trials than this do not agree by chance.
_BY_CHANCE = 1e-3
_MOST_NAMED = 3


class Repeats:
    """Which trials are the same run, by their masks.

    Masks that leave out few examples agree by chance, too: then trials of equal masks are the same
    run only if they are right of the same examples.
    """

    def __init__(self, num_train: int):
        self._times_seen = np.zeros(num_train, np.int64)
        self._count = 0
        self._known: dict[bytes, list[tuple[bytes, str]]] = {}
        self._equal: list[tuple[str, str, bool]] = []

    def add(
        self, trial: str, subset: np.ndarray, train_correct: np.ndarray, test_correct: np.ndarray
    ) -> None:
        """Takes a trial, by the name that it has in errors: bool [n], [n] and [n']."""
        self._times_seen += subset
        self._count += 1
        outcome = _digest(train_correct, test_correct)
        earlier = self._known.setdefault(_digest(subset), [])
        if earlier:
            same = next((name for other, name in earlier if other == outcome), None)
            self._equal.append((trial, same or earlier[0][1], same is not None))
        earlier.append((outcome, trial))

    def refuse(self) -> None:
        """Raises ValueError if a run is there twice; names the trials."""
        share = self._times_seen / max(self._count, 1)
        log_chance = np.sum(np.log(share**2 + (1 - share) ** 2))
        expected = self._count * (self._count - 1) / 2 * np.exp(log_chance)
        found = [pair for pair in self._equal if pair[2] or expected < _BY_CHANCE]
        if found:
            named = "; ".join(f"{trial} is {other}" for trial, other, _ in found[:_MOST_NAMED])
            more = f"; and {len(found) - _MOST_NAMED:,} more" if len(found) > _MOST_NAMED else ""
            raise ValueError(
                f"{len(found):,} of {self._count:,} trials are there twice, by equal masks: "
                f"{named}{more}; a run counts once, so leave the others out"
            )


def _digest(*rows: np.ndarray) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        digest.update(np.packbits(row).data)
    return digest.digest()
