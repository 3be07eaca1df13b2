"""Where work runs: jobs as plain data, executors by name, and what jobs leave."""
