"""How fast it is on this machine: benchmarks that anybody can run, as plain numbers."""
