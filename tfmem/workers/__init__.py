"""Who trains which trial: launches, claims, logs, Ray."""
