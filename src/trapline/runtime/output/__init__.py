"""What a run writes: bpftrace's text, or a JSON object per line (`trapline.runtime.output.json`, when asked for)."""

from __future__ import annotations

from trapline.runtime.output.protocol import Location, Output
from trapline.runtime.output.sink import Sink
from trapline.runtime.output.text import TextOutput

__all__ = ["Location", "Output", "Sink", "TextOutput"]
