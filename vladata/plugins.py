"""Plugins are modules: one file in `sources`, `checks`, `tokenizers` or `exporters` is one plugin.

Nothing is registered and nothing is imported until it is asked for: names come from the folder's listing.
"""

import difflib
import importlib
import pkgutil
from functools import cache
from types import ModuleType

from .errors import PluginNotFoundError

__all__ = ["load", "names"]


def names(kind: str) -> list[str]:
    """List the plugins of a kind (`sources`, `checks`, …), sorted; modules that begin with `_` are not plugins."""
    package = importlib.import_module(f"vladata.{kind}")
    return list(_listed(tuple(package.__path__)))


@cache
def _listed(folders: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(m.name for m in pkgutil.iter_modules(folders) if not m.name.startswith("_")))


def load(kind: str, name: str) -> ModuleType:
    """Import one plugin.

    Raises:
        PluginNotFoundError: There is none of that name; the message proposes the nearest one.
    """
    known = names(kind)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
        raise PluginNotFoundError(f"no {kind} plugin named {name!r}; {hint}")
    return importlib.import_module(f"vladata.{kind}.{name}")
