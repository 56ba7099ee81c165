"""What CI says of a change.

- `verdict`: gate, check and ab joined, the verdict first
- `comment`: folded, and never longer than GitHub takes
- `annotations`: one line per finding, on the file and line that it is about
"""
