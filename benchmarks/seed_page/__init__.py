"""The seed page with measured numbers: makes docs/walkthrough.md."""
