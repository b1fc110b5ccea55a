"""Postings of any weights: written in runs as the kernels read them, merged, opened, searched."""
