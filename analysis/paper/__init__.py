"""The numbers that the paper states, beside those measured here."""
