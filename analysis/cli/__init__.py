"""What all programs share: how they run and end, their help, and flags that several have."""
