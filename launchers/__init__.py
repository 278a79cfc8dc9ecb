"""Programs that make trials: flags in, one library call, progress out."""
