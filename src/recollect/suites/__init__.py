"""Suites: sets of tasks that every mixer is tuned on alike."""
