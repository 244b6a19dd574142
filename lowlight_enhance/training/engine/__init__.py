"""The training loop: checkpoints, validation and logging."""
