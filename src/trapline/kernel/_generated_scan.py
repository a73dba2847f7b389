"""The machine code of `trapline.kernel.type_scan_ir` (python -m tools.develop.native_code)."""

LLVM = "22.1.0"
# By architecture: where the code begins, and the code in base 64.
CODE = {
    "x86_64": (
        0,
        "QVZTSIsXSItPCEg5ynN2TItHEEyLTxhIi38gMfZJidNJicpNKdpIx8D/////SYP6DHJlQYtbBEGJ3kHB7hVBgeb4AAAAR4sU"
        "Bk2F0nRKQYsDiQdNAdpJKdNJwesCRYkZSP/GQ4tEBgRED7fbTA+v2E0B2kiDxwRJg8EESTnKTYnTcp3rBTH2SYnSSTnKSMfA"
        "/////0gPRMZbQV7D",
    ),
}
