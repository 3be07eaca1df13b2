"""The Python API for running studies and reading their results."""
