"""`record`, `field` and `replace`: dataclasses that cost nothing until they are used.

Making a dataclass costs about half a millisecond, since it compiles six methods from text, and importing `dataclasses`
costs ten; trapline has hundreds of records and a run uses few.  `record` takes the arguments ``frozen`` and ``eq`` of
`dataclasses.dataclass` and gives a class that behaves the same.  Its constructor is compiled when there are some dozens
of instances, which few records come to; its other methods are shared by all records; only `dataclasses.fields` and
patterns with positions make the real dataclass.
"""

from __future__ import annotations

from trapline.hints import TYPE_CHECKING

__all__ = ["annotations_of", "field", "record", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass as record
    from dataclasses import field, replace

    def annotations_of(cls: type) -> dict[str, str]:
        """Return the fields of a record by name, with their annotations' text, in the order of the constructor."""
else:
    from operator import attrgetter

    _NOTHING = object()
    _METHODS = ("__init__", "__repr__", "__eq__", "__hash__")
    _FEW = 48  # instances whose construction by a general constructor costs less than to compile one

    class _Field:
        """What `field` was called with."""

        __slots__ = ("arguments", "compare", "default", "factory", "kw_only", "repr")

        def __init__(self, arguments):
            self.arguments = arguments
            self.default = arguments.get("default", _NOTHING)
            self.factory = arguments.get("default_factory", _NOTHING)
            self.kw_only = arguments.get("kw_only", False)
            self.compare = arguments.get("compare", True)
            self.repr = arguments.get("repr", True)

    def field(**arguments):
        """Describe a field, as `dataclasses.field` does: default, default_factory, kw_only, compare, repr."""
        return _Field(arguments)

    class _Later:
        """Stands for the attribute `name` of a record; when it is first asked for, `make` sets the real one."""

        __slots__ = ("make", "name", "owner")

        def __init__(self, owner, name, make):
            self.owner = owner
            self.name = name
            self.make = make

        def __get__(self, instance, cls=None):
            self.make(self.owner)
            value = getattr(self.owner, self.name)
            return value if instance is None or self.name != "__init__" else value.__get__(instance, cls)

    def record(cls=None, /, *, frozen=False, eq=True):
        """Make `cls` a dataclass."""
        if cls is None:
            return lambda cls: record(cls, frozen=frozen, eq=eq)
        own = cls.__dict__
        written = tuple(name for name in _METHODS if own.get(name) is not None)
        cls.__record__ = frozen, eq, written
        cls.__dataclass_fields__ = _Later(cls, "__dataclass_fields__", _make_dataclass)
        cls.__match_args__ = _Later(cls, "__match_args__", _make_dataclass)
        if "__init__" not in written:
            cls.__init__ = _Later(cls, "__init__", _make_first_constructor)
        if "__repr__" not in written:
            cls.__repr__ = _repr
        if frozen:
            cls.__setattr__ = _refuse_change
            cls.__delattr__ = _refuse_change
        if eq and "__eq__" not in written:
            cls.__eq__ = _equal
            if "__hash__" not in written:
                cls.__hash__ = _hash if frozen else None
        return cls

    def _fields_of(cls):
        """Return the fields of a record by name, the bases' first."""
        known = cls.__dict__.get("__record_fields__")
        if known is not None:
            return known
        found = {}
        for base in cls.__mro__[-1:0:-1]:
            if "__record__" in base.__dict__:
                found.update(_fields_of(base))
        own = cls.__dict__
        for name, annotation in cls.__annotations__.items():
            if not str(annotation).startswith(("ClassVar", "typing.ClassVar")):
                value = own.get(name, _NOTHING)
                if not isinstance(value, _Field):
                    value = _Field({} if value is _NOTHING else {"default": value})
                found[name] = value
        type.__setattr__(cls, "__record_fields__", found)
        return found

    def annotations_of(cls):
        """Return the fields of a record by name, with their annotations' text, in the order of the constructor."""
        found = {}
        for base in cls.__mro__[::-1]:
            if "__record__" in base.__dict__:
                found.update(
                    {name: str(text) for name, text in base.__annotations__.items() if name in _fields_of(base)}
                )
        return found

    def replace(instance, /, **changes):
        """Return a copy of a record with other values in some fields."""
        values = {name: getattr(instance, name) for name in _fields_of(_owner(instance.__class__))}
        return instance.__class__(**{**values, **changes})

    def _make_first_constructor(cls):
        """Give a class a constructor that needs no compiling, for the first instances."""
        fields = _fields_of(cls)
        positional = [name for name, about in fields.items() if not about.kw_only]
        names = (*positional, *[name for name, about in fields.items() if about.kw_only])
        most = len(positional)
        has_post_init = hasattr(cls, "__post_init__")
        count = 0

        def __init__(*arguments, **named):
            nonlocal count
            instance, *values = arguments
            count += 1
            given = len(values)
            fits = given <= most and count <= _FEW
            state = instance.__dict__
            state.update(zip(names, values, strict=False))
            left = len(named)
            for name in names[given:]:
                if left and name in named:
                    state[name] = named[name]
                    left -= 1
                elif (about := fields[name]).default is not _NOTHING:
                    state[name] = about.default
                elif about.factory is not _NOTHING:
                    state[name] = about.factory()
                else:
                    fits = False
            if left or not fits:
                _make_constructor(cls)  # which tells what is wrong with the arguments, if anything is
                cls.__init__(*arguments, **named)
            elif has_post_init:
                instance.__post_init__()

        __init__.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__ = __init__

    def _make_constructor(cls):
        """Compile the constructor."""
        required, optional, named, body, names = [], [], [], [], {"_NOTHING": _NOTHING}
        for name, about in _fields_of(cls).items():
            value = name
            parameter = name
            if about.factory is not _NOTHING:
                names[f"_f_{name}"] = about.factory
                parameter = f"{name}=_NOTHING"
                value = f"_f_{name}() if {name} is _NOTHING else {name}"
            elif about.default is not _NOTHING:
                names[f"_d_{name}"] = about.default
                parameter = f"{name}=_d_{name}"
            (named if about.kw_only else required if parameter == name else optional).append(parameter)
            body.append(f"    _d[{name!r}] = {value}\n")
        if hasattr(cls, "__post_init__"):
            body.append("    self.__post_init__()\n")
        parameters = ", ".join(["self", *required, *optional, *(["*", *named] if named else [])])
        exec(f"def __init__({parameters}):\n    _d = self.__dict__\n" + "".join(body), names)
        constructor = names["__init__"]
        constructor.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__ = constructor

    def _make_dataclass(cls):
        """Give the class what `dataclasses` keeps of a dataclass."""
        import dataclasses

        frozen, eq, written = cls.__record__
        for base in cls.__mro__[1:]:
            if isinstance(base.__dict__.get("__dataclass_fields__"), _Later):
                _make_dataclass(base)
        ours = [name for name in _METHODS if name not in written]
        for name in ("__dataclass_fields__", "__match_args__", "__setattr__", "__delattr__", *ours):
            if name in cls.__dict__:
                type.__delattr__(cls, name)
        for name in _fields_of(cls):
            about = cls.__dict__.get(name)
            if isinstance(about, _Field):
                setattr(cls, name, dataclasses.field(**about.arguments))
        dataclasses.dataclass(init="__init__" not in written, frozen=frozen, eq=eq)(cls)

    def _getter(cls, purpose):
        """Return a function from an instance to the tuple of its fields for ``compare`` or ``repr``."""
        key = f"__record_{purpose}__"
        found = cls.__dict__.get(key)
        if found is None:
            names = [name for name, about in _fields_of(cls).items() if getattr(about, purpose)]
            if len(names) > 1:
                found = attrgetter(*names)
            elif names:
                single = attrgetter(names[0])
                found = lambda instance: (single(instance),)  # noqa: E731
            else:
                found = lambda instance: ()  # noqa: E731
            type.__setattr__(cls, key, found)
        return found

    def _owner(cls):
        """Return the record that an instance's class is or comes from."""
        return next(base for base in cls.__mro__ if "__record__" in base.__dict__)

    def _equal(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        if self is other:
            return True
        get = _getter(_owner(self.__class__), "compare")
        return get(self) == get(other)

    def _hash(self):
        return hash(_getter(_owner(self.__class__), "compare")(self))

    def _repr(self):
        shown = [name for name, about in _fields_of(_owner(self.__class__)).items() if about.repr]
        return f"{self.__class__.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def _refuse_change(self, name, *value):
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot change field {name!r}")
