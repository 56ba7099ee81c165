"""Formats the results of CI for a pull request.

- `verdict`: gate, check and ab joined into one comment, the verdict first
- `comment`: folded sections, never longer than GitHub takes
- `annotations`: one line per finding, on the file and line of its subject
"""
