"""What `typing` has for annotations, at no cost: importing `typing` takes 4 ms, and each of its protocols a tenth.

A type checker sees `typing` itself.  At run time nothing looks at an annotation, so that `Protocol` is an empty class
and a type variable nothing; only `NamedTuple` and `cast` do what theirs do.
"""

from __future__ import annotations

__all__ = [
    "TYPE_CHECKING",
    "Any",
    "BinaryIO",
    "ClassVar",
    "NamedTuple",
    "NoReturn",
    "Protocol",
    "TextIO",
    "TypeAlias",
    "TypeVar",
    "cast",
]

TYPE_CHECKING = False  # known to type checkers by its name, under which they take it for true

if TYPE_CHECKING:
    from typing import Any, BinaryIO, ClassVar, NamedTuple, NoReturn, Protocol, TextIO, TypeAlias, TypeVar, cast
else:
    from collections import namedtuple

    Any = BinaryIO = ClassVar = NoReturn = TextIO = TypeAlias = object

    class Protocol:
        """What other classes have to offer; here, nothing."""

    def TypeVar(name, *constraints, **options):
        """Return what stands for a type variable in ``type[T]``."""
        return object

    def cast(type_, value):
        """Return `value`."""
        return value

    class _NamedTuple(type):
        """Makes a named tuple of a class with annotations."""

        def __new__(cls, name, bases, namespace):
            if not bases:
                return super().__new__(cls, name, bases, namespace)
            fields = [*namespace.get("__annotations__", ())]
            defaults = [namespace[field] for field in fields if field in namespace]
            made = namedtuple(name, fields, defaults=defaults, module=namespace["__module__"])
            for key, value in namespace.items():
                if key not in fields and key not in ("__annotations__", "__dict__", "__module__", "__weakref__"):
                    setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_NamedTuple):
        """A base class: the annotations of its heirs are the fields of a named tuple."""
