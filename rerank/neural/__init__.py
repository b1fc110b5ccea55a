"""Rerankers made of torch's classes; imported where they are used, as torch is."""
