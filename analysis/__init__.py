"""What trials say of examples, from Python: `estimate` and `open_estimates` (docs/python.md).

    import analysis

    est = analysis.estimate("store")
    est = analysis.open_estimates("estimates.npz", dataset="digits")

Both return `Findings`. Importing this package imports none of what it needs. The files beside this
one are programs, and the packages what these are made of.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.notebook.findings import Findings
    from analysis.notebook.opening import estimate, open_estimates

__all__ = ["Findings", "estimate", "open_estimates"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = "findings" if name == "Findings" else "opening"
    return getattr(importlib.import_module(f"analysis.notebook.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
