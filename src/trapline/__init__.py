"""trapline: a dynamic tracer for Linux, as a Python package."""
