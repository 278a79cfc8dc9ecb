"""What all programs share: how they run and end, and flags that several have."""
