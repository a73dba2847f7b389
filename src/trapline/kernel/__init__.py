"""The kernel half: loads what an `ObjectSpec` describes, attaches it, and owns every descriptor of it."""
