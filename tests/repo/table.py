"""Which package may import which: the table of docs/architecture.md as data.

Besides these every package may import itself, ``trapline`` for its version, ``trapline.records``,
``trapline.hints`` and ``trapline.shared_library``.
"""

from __future__ import annotations

_DATA = ("errors", "source")
_COMPILER = ("ir", "debuginfo", "btf", "abi", *_DATA)
_FRONTEND = ("clang", *_COMPILER)

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "errors": (),
    "source": ("errors",),
    "abi": ("errors",),
    "btf": ("abi", "errors"),
    "debuginfo": ("btf", "abi", "errors"),
    "ir": ("debuginfo", "btf", "abi", *_DATA),
    "syscall": ("abi", "errors"),
    "kernel": ("syscall", *_COMPILER),
    "codegen": _COMPILER,
    "clang": _DATA,
    "frontends.bpftrace": _FRONTEND,
    "frontends.bcc_c": _FRONTEND,
    "runtime": ("kernel", "codegen", "syscall", *_COMPILER),
    "engine": ("runtime", "kernel", "codegen", "syscall", *_COMPILER),
    "bcc": ("engine", "runtime", "frontends.bcc_c", "abi", *_DATA),
    "api": ("engine", "runtime", "kernel", "ir", "frontends.bpftrace", *_DATA),
    "cli": ("api", "engine", "runtime", "frontends.bpftrace", "bcc", *_DATA),
}

# Outside modules that only one package may use.
ONLY_USER = {
    "llvmlite": "codegen",
    "clang": "clang",
    "mmap": "syscall",
}
# Besides those of trapline.syscall, the modules that may open shared libraries.
LIBRARIES = ("shared_library.py",)


def contracts() -> list[dict[str, object]]:
    """Return the table as import-linter's contracts, as they stand in pyproject.toml."""
    return [
        {
            "name": f"{package} imports only what the table allows",
            "type": "forbidden",
            "allow_indirect_imports": True,
            "source_modules": [f"trapline.{package}"],
            "forbidden_modules": [
                f"trapline.{other}" for other in MAY_IMPORT if other != package and other not in MAY_IMPORT[package]
            ],
        }
        for package in MAY_IMPORT
    ]
