"""The command line: thin commands that import heavy modules only when they run."""
