"""Questions to a real GPU: `make test-gpu`. Written and judged without one; none of them has run on a GPU yet."""
