"""How a patch changes a class or module of moto: it fails at start when moto no longer fits."""

from typing import Any


def replace(owner: Any, **replacements: Any) -> None:
    """Replace members of a class or module of moto.

    Raises:
        AttributeError: moto has no such member.
    """
    for name, replacement in replacements.items():
        getattr(owner, name)
        setattr(owner, name, replacement)


def add(owner: Any, **members: Any) -> None:
    """Give a class of moto the members that it lacks.

    Raises:
        AttributeError: moto has such a member by now.
    """
    for name, member in members.items():
        if hasattr(owner, name):
            raise AttributeError(f"moto has {owner.__name__}.{name} itself: remove the patch that adds it")
        setattr(owner, name, member)
