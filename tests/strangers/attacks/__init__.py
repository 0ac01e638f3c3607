"""The attacks; a new one is a new module here that holds an `ATTACK`."""

import importlib
import pkgutil

from tests.strangers.attack import Attack


def all_attacks() -> dict[str, Attack]:
    """Returns the attacks by the names of their modules."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").ATTACK for name in names}
