"""Programs with C definitions, made systematically, for the comparison with bpftrace.

What the structs lie over is the code of a kernel function: the same bytes for both.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance.body import Body

# Not char: bpftrace takes sizeof(char[3]) for 4, and rows of a char[2][2] for 3 bytes.
_SCALARS = ("signed char", "unsigned char", "short", "unsigned short", "int", "unsigned int", "long")
_MORE = ("unsigned long", "long long", "unsigned long long", "_Bool", "long *", "int *")
_ATTRIBUTES = ("", "__attribute__((packed))", "__attribute__((aligned(32)))")


def make_c_bodies() -> list[Body]:
    """Return the programs that define C types and macros."""
    return [*_members(), *_bits(), *_nested(), *_enums(), *_macros()]


def _over(tag: str) -> str:
    return f'$s = (struct {tag} *)kptr(kaddr("vfs_read"));'


def _members() -> Iterator[Body]:
    for number, scalar in enumerate(_SCALARS + _MORE):
        for kind, attribute in enumerate(_ATTRIBUTES):
            tag = f"m{number}_{kind}"
            members = f"char first; {scalar} one; {scalar} some[3]; {scalar} grid[2][2]; unsigned char last;"
            yield Body(
                "C members",
                f"{_over(tag)} print((sizeof(struct {tag}), offsetof(struct {tag}, one), offsetof(struct {tag}, some), "
                f"offsetof(struct {tag}, grid), offsetof(struct {tag}, last), sizeof($s->one), sizeof($s->some))); "
                "print($s->one); print($s->some[2]); print($s->grid[1][0]); print($s->last); print($s->first);",
                f"struct {tag} {{ {members} }} {attribute};",
            )
        yield Body(
            "C members",
            f"{_over(f'a{number}')} print($s->some); print(*$s); @v{number} = $s->one; @k{number}[$s->one] = 1;",
            f"struct a{number} {{ short pad; {scalar} one; {scalar} some[3]; }};",
        )


def _bits() -> Iterator[Body]:
    layouts = ((1, 2, 5), (3, 7, 9), (8, 8, 16), (31, 1, 4), (5, 0, 3), (13, 20, 11), (1, 1, 1))
    for number, widths in enumerate(layouts):
        for kind, scalar in enumerate(("unsigned int", "unsigned long", "unsigned char", "unsigned short")):
            limit = {"unsigned char": 8, "unsigned short": 16}.get(scalar, 32)
            if max(widths) > limit:
                continue
            for attribute in _ATTRIBUTES[:2]:
                tag = f"b{number}_{kind}_{len(attribute)}"
                bits = " ".join(f"{scalar} {'xyz'[i] if w else ''}:{w};" for i, w in enumerate(widths))
                names = [f"$s->{'xyz'[i]}" for i, w in enumerate(widths) if w]
                yield Body(
                    "C bit-fields",
                    f"{_over(tag)} print(sizeof(struct {tag})); " + " ".join(f"print({n});" for n in names),
                    f"struct {tag} {{ char head; {bits} short tail; }} {attribute};",
                )


def _nested() -> Iterator[Body]:
    shapes = {
        "n1": ("struct { int a; struct { short b, c; }; };", ("a", "b", "c")),
        "n2": ("union { int a; char b[4]; unsigned short c[2]; };", ("a", "c[1]", "b[2]")),
        "n3": ("struct in3 { long a; char b; } in, more[2];", ("in.a", "in.b", "more[1].b", "more[0].a")),
        "n4": ("struct { union { struct { int a; } b; long c; } d; } e;", ("e.d.b.a", "e.d.c")),
        "n5": ("struct list_head a; struct hlist_head b; int c;", ("a.next", "b.first", "c")),
        "n6": ("u32 a; __u64 b; size_t c; pid_t d; bool e; u8 f[2];", ("a", "b", "c", "d", "f[1]")),
    }
    for tag, (members, names) in shapes.items():
        uses = " ".join(f"print($s->{name}); print(offsetof(struct {tag}, {name.split('[')[0]}));" for name in names)
        plain = " ".join(f"print($s->{name});" for name in names)
        yield Body(
            "C nesting",
            f"{_over(tag)} print(sizeof(struct {tag})); {plain if '[' in ''.join(names) else uses}",
            f"struct {tag} {{ char pad; {members} }};",
        )


def _enums() -> Iterator[Body]:
    # Not negative ones: bpftrace adds to them as if they were unsigned.
    lists = {
        "e1": "E1A, E1B = 7, E1C",
        "e3": "E3A = 0x10, E3B = E3A << 2",
        "e4": "E4A = 0x1ffffffff",
    }
    for tag, text in lists.items():
        names = [part.split()[0].rstrip(",") for part in text.split(", ")]
        uses = " ".join(
            f'print({name}); printf("%d|%s|%8s|\\n", {name}, {name}, {name}); @v_{name} = {name};'
            f" @k_{name}[{name}] = 1; print({name} + 1); $x{name} = {name}; print($x{name});"
            f" print((enum {tag}){name}); print(({name}, 1));"
            for name in names
        )
        yield Body("C enums", uses, f"enum {tag} {{ {text} }};")


def _macros() -> Iterator[Body]:
    bodies = (
        "1",
        "0x1f",
        "010",
        "-5",
        "(1 << 4)",
        "1 << 4",
        "3 + 4",
        "!0",
        "5 > 3",
        "2 ? 3 : 4",
        '"text"',
        "pid > 0",
    )
    for number, body in enumerate(bodies):
        name = f"MACRO_{number}"
        yield Body(
            "C macros",
            f"print({name}); print(({name}, 2)); @m{number} = {name}; if ({name}) {{ print(1) }}"
            if '"' not in body
            else f'print({name}); @m{number} = {name}; printf("%s|\\n", {name});',
            f"#define {name} {body}",
        )
        if '"' not in body:
            yield Body("C macros", f"print({name}X * 2); print({name}X + {name}X);", f"#define {name}X ({body})")
