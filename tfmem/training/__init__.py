"""Two ways to train a trial, one result: `fit` for any model, `stacked` for many small ones."""
