"""What `import analysis` offers to Python and notebooks (docs/python.md)."""
