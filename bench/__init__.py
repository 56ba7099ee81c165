"""stepbench: what a deep-learning model costs, and which of those numbers you may believe."""

__version__ = "0.1.0"
