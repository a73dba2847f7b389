from types import SimpleNamespace

from trapline.bcc.symbols import SymbolCache, format_symbol, resolve_build_id
from trapline.runtime.symbols import Symbol


class Source:
    symbols = {0x10: Symbol("_Z1fv", 2, "/lib/x.so"), 0x20: Symbol("compiled", 0, "[jit]")}

    def user_symbol(self, address, pid):
        return self.symbols.get(address)

    def user_place(self, address, pid):
        return ("/lib/x.so", 0x300) if address == 0x30 else None

    def kernel_symbol(self, address):
        return {1: Symbol("vfs_read", 4), 2: Symbol("tun_get", 0, "tun")}.get(address)

    def kernel_address(self, name):
        return None

    def user_address(self, name, module, pid):
        return 0x10 if (name, module) == ("f", "/lib/x.so") else None

    def demangle(self, name):
        return "f()" if name == "_Z1fv" else name

    def build_id_symbol(self, build_id, offset, pid=-1):
        return {("ab" * 20, 1): Symbol("f", 1, "/lib/x.so"), ("ab" * 20, 9): Symbol("", 9, "/lib/x.so")}.get(
            (build_id, offset)
        )


def test_symbols_of_a_process():
    cache = SymbolCache(5, Source())
    assert cache.resolve(0x10) == (b"f()", 2, b"/lib/x.so")
    assert cache.resolve(0x10, demangle=False) == (b"_Z1fv", 2, b"/lib/x.so")
    assert cache.resolve(0x20) == (b"compiled", 0, b"/tmp/perf-5.map")
    assert cache.resolve(0x30) == (None, 0x300, b"/lib/x.so")
    assert cache.resolve(0x40) == (None, 0x40, None)
    assert cache.resolve_name("/lib/x.so", "f") == 0x10
    assert cache.resolve_name(None, "g") == -1


def test_symbols_of_the_kernel():
    cache = SymbolCache(-1, Source())
    assert cache.resolve(1) == (b"vfs_read", 4, b"kernel")
    assert cache.resolve(2) == (b"tun_get", 0, b"tun")
    assert cache.resolve(3) == (None, 3, None)


def test_build_ids():
    def show(build_id, offset):
        entry = SimpleNamespace(build_id=bytes.fromhex(build_id), offset=offset)
        return format_symbol(lambda e: resolve_build_id(Source(), e, 5), entry, show_module=True, show_offset=True)

    assert show("ab" * 20, 1) == b"f+0x1 [x.so]"
    assert show("ab" * 20, 9) == b"[unknown] [x.so]"
    assert show("cd" * 20, 1) == b"[unknown]"
