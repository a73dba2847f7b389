"""Sessions: compile, load, attach, run, close; and the compile cache.  Knows no language."""
