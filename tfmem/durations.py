"""Spans of time in words."""


def duration(seconds: float) -> str:
    """Returns seconds in words: `35 s`, `4.2 min`, `7.5 h`, `1,240.0 days`."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.3g} s"
