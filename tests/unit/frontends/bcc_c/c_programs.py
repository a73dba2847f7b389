"""Random C functions without undefined behaviour, for a comparison with a real compiler."""

from __future__ import annotations

from random import Random

TYPES = {
    "i8": "signed char",
    "u8": "unsigned char",
    "i16": "short",
    "u16": "unsigned short",
    "i32": "int",
    "u32": "unsigned int",
    "i64": "long long",
    "u64": "unsigned long long",
    "l": "long",
    "ul": "unsigned long",
    "b": "_Bool",
    "c": "char",
}

HEADER = (
    "struct in {\n"
    + "".join(f"    {type_} {name};\n" for name, type_ in TYPES.items())
    + """    unsigned f3 : 3; int f5 : 5; unsigned long long f40 : 40; _Bool f1 : 1; signed char f7 : 7;
    short array[4]; union { unsigned int whole; unsigned char part[4]; }; struct { int x; unsigned char y; } pair;
};
enum color { RED, GREEN = 5, BLUE = -3 };
static inline int twice(short v) { return v * 2; }
static inline unsigned char cut(unsigned long long v) { return v; }
static inline long long pick(int which, long long a, unsigned b)
{ if (which < 0) return a; switch (which & 3) { case 0: return b; case 1: a++; default: break; } return a - b; }
"""
)

_FIELDS = [*TYPES, "f3", "f5", "f40", "f1", "f7", "whole", "pair.x", "pair.y"]


class Generator:
    """Writes functions ``long long NAME(struct in *p)`` that read and change a copy of ``*p``."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._loops = 0

    def function(self, name: str) -> str:
        """Return the text of one function."""
        choose = self._random
        self._loops = 0
        lines = [
            f"long long {name}(struct in *p) {{",
            "    struct in s = *p, zero = {}, some = { .i16 = p->i8, .array = { [1] = 7, p->c }, .pair.y = p->u32 };",
            "    long long sum = 0; unsigned long long a0 = p->u64; int a1 = p->i32; unsigned char a2 = p->u8;",
            "    short *walk = &s.array[1];",
        ]
        lines += [f"    {self._statement(2)}" for _ in range(choose.randint(2, 6))]
        lines.append("    zero = s; sum += some.array[2] + some.pair.y + some.i16 + some.array[3];")
        lines += [f"    sum = sum * 31 + (long long)zero.{field};" for field in _FIELDS]
        lines.append("    sum += s.array[0] ^ s.array[1] ^ s.array[2] ^ s.array[3] ^ *walk ^ (walk - s.array);")
        lines.append("    return sum + a0 + a1 + a2;\n}\n")
        return "\n".join(lines)

    def _variable(self) -> str:
        choose = self._random
        roll = choose.random()
        if roll < 0.6:
            return f"s.{choose.choice(_FIELDS)}"
        if roll < 0.75:
            return choose.choice(["a0", "a1", "a2", "sum"])
        if roll < 0.85:
            return f"s.array[{choose.randint(0, 3)}]"
        if roll < 0.95:
            return f"s.part[(unsigned){self._atom()} & 3]"
        return "*walk"

    def _atom(self) -> str:
        choose = self._random
        roll = choose.random()
        if roll < 0.55:
            return f"p->{choose.choice(_FIELDS)}"
        if roll < 0.7:
            return choose.choice(["s.i32", "s.u64", "s.f5", "a0", "a1", "a2", "sum", "s.array[2]", "*walk", "walk[1]"])
        suffix = choose.choice(["", "u", "ll", "ull", "l", "ul"])
        number = choose.choice([0, 1, 2, 7, 127, 128, 255, 256, 32767, 65535, 2147483647, 4294967295])
        return choose.choice([f"{number}{suffix}", f"-{number}{suffix}", "'x'", "BLUE", "GREEN", "sizeof(s.i16)"])

    def expression(self, depth: int) -> str:
        """Return an expression of an arithmetic type."""
        choose = self._random
        if depth <= 0 or choose.random() < 0.15:
            return self._atom()
        left, right = self.expression(depth - 1), self.expression(depth - 1)
        kind = choose.randint(0, 15)
        if kind <= 4:
            return f"({left} {choose.choice(['+', '-', '*', '&', '|', '^'])} {right})"
        if kind == 5:
            divisor = choose.choice([f"({right} & 0xff | 2)", f"-({right} & 0x7f | 2)", "10", "8u", "1000ull"])
            return f"(({left}) {choose.choice('/%')} {divisor})"
        if kind == 6:
            return f"({left} {choose.choice(['<<', '>>'])} ({right} & {choose.choice([7, 15, 31])}))"
        if kind <= 8:
            return f"({left} {choose.choice(['<', '<=', '>', '>=', '==', '!='])} {right})"
        if kind == 9:
            return f"({left} {choose.choice(['&&', '||'])} {right})"
        if kind == 10:
            return f"({left} ? {right} : {self.expression(depth - 1)})"
        if kind == 11:
            return f"({choose.choice(list(TYPES.values()))})({left})"
        if kind == 12:
            return f"{choose.choice(['-', '~', '!', '+'])}({left})"
        if kind == 13:
            return choose.choice([f"twice({left})", f"cut({left})", f"pick({left}, {right}, {self._atom()})"])
        if kind == 14:
            return f"({{ {choose.choice(list(TYPES.values()))} t = {left}; t + ({right}); }})"
        return f"({left} ?: {right})"

    def _statement(self, depth: int) -> str:
        choose = self._random
        kind = choose.randint(0, 9)
        target, value = self._variable(), self.expression(3)
        if kind <= 2 or depth <= 0:
            return f"{target} = {value};"
        if kind == 3:
            operator = choose.choice(["+=", "-=", "*=", "&=", "|=", "^="])
            return f"{target} {operator} {value};"
        if kind == 4:
            return f"{target} {choose.choice(['<<=', '>>='])} ({value}) & 7;"
        if kind == 5:
            step = choose.choice(["{0}++", "++{0}", "{0}--", "--{0}"]).format(target)
            return f"{{ long long t = {step}; sum += t; }}"
        if kind == 6:
            return f"if ({value}) {{ {self._statement(depth - 1)} }} else {self._statement(depth - 1)}"
        if kind == 7:
            self._loops += 1
            name = f"i{self._loops}"
            leave = choose.choice([f"if ({name} == 2) break;", f"if ({name} == 1) continue;", ""])
            return f"for (int {name} = 0; {name} < 4; {name}++) {{ {leave} {self._statement(depth - 1)} }}"
        if kind == 8:
            return (
                f"switch ({value}) {{ case 0: {self._statement(0)} case 1 ... 9: {self._statement(0)} break; "
                f"case -1: {self._statement(0)} break; default: {self._statement(0)} }}"
            )
        return choose.choice(
            [
                f"{target} /= ({value}) & 0xff | 2;",
                f"walk = &s.array[{choose.randint(0, 2)}]; *walk = {value};",
                f"s.pair = p->pair; {target} = {value};",
                f"do {{ a2 += 3; }} while (a2 & 1); {target} = {value};",
                f"{target} = {value}, sum ^= {self._atom()};",
            ]
        )


# What the generator does not write: objects by value, nested initialisers, jumps, tables, 128 bits, strings.
FIXED = (
    HEADER
    + r"""
struct point { short x; long long y; };
struct line { struct point from, to; unsigned char tag[5]; };
static struct point move(struct point p, int by) { p.x += by; p.y -= by; return p; }
static struct line make(struct in *p) { return (struct line){ .to = { p->i16, p->i64 }, .tag = "abcd", .from.y = 3 }; }
static const unsigned short table[3][2] = { { 1, 2 }, [2] = { [1] = 0xfffe } };
static const struct point points[] = { { 1, 2 }, { .y = -4 }, };
static const char *const name = "trapline";

long long g0(struct in *p) {
    struct line line = make(p), other = line;
    other.from = move(other.to, p->u8);
    struct point ends[2] = { line.to, other.from }, *end = ends + 1;
    return (end--)->x * 3 + end->y + move(*end, 2).y + sizeof(line) + other.tag[p->u8 & 3] + line.tag[4];
}
long long g1(struct in *p) {
    long long sum = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 2; j++)
            sum = sum * 10 + table[i][j] * (j ? p->i8 : 1);
    return sum + points[p->u8 & 1].y + points[1].x + name[p->u16 & 7];
}
long long g2(struct in *p) {
    int i = 0;
    long long sum = p->i32;
again:
    if (i++ < 5) {
        switch (p->u8 + i) {
        case 3: sum += 100; goto again;
        case 4 ... 200: sum ^= i; if (sum & 1) goto done;
        default: sum--;
        }
        goto again;
    }
done:
    return sum;
}
long long g3(struct in *p) {
    unsigned __int128 wide = ((unsigned __int128)p->u64 << 64) | p->ul, same = wide;
    struct { unsigned char pad; unsigned __int128 v; } held = { .v = wide };
    return (long long)(held.v >> 64) + (held.v == same) + (wide > p->u64) + (long long)~wide;
}
long long g4(struct in *p) {
    char text[8] = "ab", copy[8], empty[4] = {};
    __builtin_memset(copy, 'z', sizeof(copy));
    __builtin_memcpy(copy + 1, text, 3);
    copy[7] = p->c;
    return __builtin_memcmp(copy, text, 2) < 0 ? 1 : copy[0] + copy[1] * 2 + copy[3] * 3 + copy[7] + empty[3];
}
long long g5(struct in *p) {
    union { unsigned long long all; unsigned char bytes[8]; struct { unsigned low; int high; }; } u = { p->u64 };
    u.bytes[p->u8 & 7] ^= 0x80;
    u.high >>= 3;
    return u.all + __builtin_bswap32(u.low) + __builtin_bswap64(p->ul) + __builtin_bswap16(p->u16);
}
long long g6(struct in *p) {
    int grid[2][3] = { 1, 2, [1] = { 5 }, }, (*row)[3] = grid;
    int *flat = &grid[0][0], sum = 0;
    row++;
    while (flat < &grid[1][3])
        sum = sum * 7 + *flat++;
    return sum + (*row)[0] + (flat - *grid) + (&grid[1][0] == row[0]);
}
long long g7(struct in *p) {
    unsigned long long v = p->u64;
    long long old = __sync_fetch_and_add(&v, 5);
    long long later = __sync_add_and_fetch(&v, 2);
    v += later;
    __sync_fetch_and_or(&v, 0x10);
    for (;;) { if (v & 1) break; v |= 1; continue; }
    return v + old + (v ? 1 : 0, 3) + (p->i8 ?: 9) + __builtin_offsetof(struct line, tag[2]) + __builtin_expect(old, 1);
}
long long g8(struct in *p) {
    struct in s = { .f3 = p->u8, .f5 = p->i8, .f40 = p->u64, .f1 = p->u16, .f7 = p->i32 };
    struct in *q = &s;
    q->f3 += 9; q->f5--; q->f40 <<= 3; q->f1 |= q->f3 > 4; q->f7 = -q->f7;
    return s.f3 + s.f5 * 3 + s.f40 * 5 + s.f1 * 7 + s.f7 * 11 + (q->f5 = p->i16) + (q->f3 < p->i32) + (q->f40 >> 1);
}
"""
)
FIXED_NAMES = tuple(f"g{i}" for i in range(9))
