"""Records to text without Python: a reader of the ring that LLVM compiles for this machine, and its tables."""
