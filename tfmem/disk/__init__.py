"""Files that are whole or absent, arrays and records as bytes, processes."""
