"""`record`: a dataclass that is made when it is first used.

Making a dataclass costs about half a millisecond, since it compiles its methods from text; trapline has hundreds of
them and a run uses few.  `record` takes the arguments of `dataclasses.dataclass` (but not ``slots``) and gives the same
class in the end: the work is done when the class is first instantiated, or asked for its fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["record"]

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:

    class _Later:
        """Stands for the attribute `name` of the record `owner` until it is first asked for."""

        __slots__ = ("arguments", "name", "owner")

        def __init__(self, owner, name, arguments):
            self.owner = owner
            self.name = name
            self.arguments = arguments

        def __get__(self, instance, cls=None):
            _make(self.owner, self.arguments)
            value = getattr(self.owner, self.name)
            return value if instance is None else value.__get__(instance, cls) if self.name == "__init__" else value

    def _make(cls, arguments):
        from dataclasses import dataclass

        for name in ("__dataclass_fields__", "__match_args__", "__init__"):
            if isinstance(cls.__dict__.get(name), _Later):
                delattr(cls, name)
        dataclass(**arguments)(cls)

    def record(cls=None, /, **arguments):
        """Make `cls` a dataclass, later."""
        if cls is None:
            return lambda cls: record(cls, **arguments)
        if "__init__" in cls.__dict__:
            # Its own constructor would never ask for ours.
            _make(cls, arguments)
            return cls
        for name in ("__dataclass_fields__", "__match_args__", "__init__"):
            if name not in cls.__dict__:
                setattr(cls, name, _Later(cls, name, arguments))
        return cls
