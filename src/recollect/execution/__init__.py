"""Execution of trials: jobs as plain data, executors by name, and the files that jobs write."""
