"""trapline: a dynamic tracer for Linux, as a Python package."""

__version__ = "0.1.0"
