"""What runs in worker processes; the only part of the runner that imports torch."""
