"""Model specs to Workloads, lazily."""
