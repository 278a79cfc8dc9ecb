"""Programs and pure functions that read trials: estimates, pairs, convergence, the report."""
