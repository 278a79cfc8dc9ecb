"""Where trials are kept: the only reader and writer of their files."""
