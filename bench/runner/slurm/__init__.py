"""Runs the cells of a sweep as tasks of a Slurm job array, and collects what they leave."""
