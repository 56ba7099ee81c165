"""The verdict of a CI run: a comment, annotations, a summary."""
