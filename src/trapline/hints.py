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
    from _collections import _tuplegetter

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
            fields = (*namespace.get("__annotations__", ()),)
            defaults = {field: namespace[field] for field in fields if field in namespace}
            own = {key: value for key, value in namespace.items() if key != "__annotations__"}
            getters = {field: _tuplegetter(index, "") for index, field in enumerate(fields)}
            about = {"_fields": fields, "_field_defaults": defaults, "__match_args__": fields, "__slots__": ()}
            made = {**about, "__new__": _make_new(name, fields, defaults), **_METHODS, **own, **getters}
            return type(name, (tuple,), made)

    def _make_new(name, fields, defaults):
        """Return the constructor of a named tuple; `collections.namedtuple` compiles one, which takes much longer."""
        count = len(fields)
        make = tuple.__new__

        def __new__(cls, *values, **named):
            if len(values) != count or named:
                if len(values) > count or not named.keys() <= set(fields[len(values) :]):
                    raise TypeError(f"{name}() takes {', '.join(fields)}")
                named = {**defaults, **named}
                missing = [field for field in fields[len(values) :] if field not in named]
                if missing:
                    raise TypeError(f"{name}() lacks {', '.join(missing)}")
                values += tuple([named[field] for field in fields[len(values) :]])
            return make(cls, values)

        return __new__

    def _repr(self):
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self._asdict().items())})"

    def _as_dict(self):
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **changes):
        return type(self)(**{**self._asdict(), **changes})

    def _new_arguments(self):
        return tuple(self)

    _METHODS = {
        "__repr__": _repr,
        "_asdict": _as_dict,
        "_replace": _replace,
        "_make": classmethod(lambda cls, values: cls(*values)),
        "__getnewargs__": _new_arguments,
    }

    class NamedTuple(metaclass=_NamedTuple):
        """A base class: the annotations of its heirs are the fields of a named tuple.

        Since Python 3.14 that needs ``from __future__ import annotations`` where they are written.
        """
