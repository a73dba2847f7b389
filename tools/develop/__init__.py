"""The one script behind make, the pre-commit hooks and continuous integration; only the standard library is used."""
