"""IR → IR passes, one module each; `run` calls them in order."""
