"""The command tfmem, and what the launchers share: flags of training, one launch, its line."""
