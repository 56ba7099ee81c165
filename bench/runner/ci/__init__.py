"""What `bench ci` and `bench gate` do: named steps, their stored answers, exact counters."""
