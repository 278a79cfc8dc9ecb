"""Numbers and settings as the page writes them."""

import math
from typing import Any

from analysis.measures.settling import Convergence

LONGEST_ID = 32  # Characters that an id has where there is little room.
_INTERVAL = 1.96  # Standard errors on either side that make an interval of 95%.


def percent(value: float | None, digits: int = 1) -> str:
    """Returns a share as a percentage; what is more than nothing is not written as 0%."""
    if value is None or math.isnan(value):
        return "–"
    while value > 0 and float(f"{100 * value:.{digits}f}") == 0 and digits < 4:
        digits += 1
    return f"{100 * value:.{digits}f}%"


def shortened(name: str) -> str:
    """Returns an id of at most 32 characters: a longer one has only its end, where ids differ."""
    return name if len(name) <= LONGEST_ID else f"…{name[1 - LONGEST_ID :]}"


def interval(value: float, standard_error: float) -> tuple[float, float]:
    """Returns the interval of 95% around an estimate, within the [-1, 1] that it can take."""
    half = _INTERVAL * standard_error
    return max(value - half, -1.0), min(value + half, 1.0)


def chance_share(convergence: Convergence) -> float | None:
    """Returns the share of the pairs found that may be chance, None where none are found."""
    if not convergence.pairs:
        return None
    return min(convergence.chance_pairs / convergence.pairs, 1.0)


def false_pairs(convergence: Convergence) -> str:
    """Says in a sentence how many of the pairs found may be chance."""
    share, found = chance_share(convergence), convergence.pairs
    if share is None:
        return "Here none is found."
    if share == 1:
        return "Here that is all of them: nothing can be said of any single pair."
    false = round(share * found)
    if not false:
        return "Here hardly any is."
    return f"Here about {false:,} of {found:,} may be."


def setting(value: Any) -> str:
    """Returns the value of a field of a config."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {setting(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(setting, value))
    return "unknown" if value == "" else str(value)
