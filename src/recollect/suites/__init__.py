"""Suites: sets of tasks on which every mixer is tuned in the same way."""
