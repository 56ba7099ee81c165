"""What each dispatched operation costs in FLOPs."""
