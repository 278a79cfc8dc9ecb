"""What the launchers share: flags of training, one launch, the line of an experiment."""
