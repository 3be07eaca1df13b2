"""Is a mixer what it claims to be? Checks with evidence, and what it costs, measured."""
