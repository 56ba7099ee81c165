"""What numbers mean: pure functions on floats."""
