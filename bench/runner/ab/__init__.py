"""Compares two commits: worktrees, live pairs of worker processes, sessions, verdicts."""
