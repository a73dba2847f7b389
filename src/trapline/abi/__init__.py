"""Kernel ABI as data: constants, struct layouts, instruction encoding, and register tables per architecture."""
