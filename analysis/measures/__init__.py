"""What the papers measure with estimates and runs: pure functions on arrays, and their words."""
