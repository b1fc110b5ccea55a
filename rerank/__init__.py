"""Reranking: cross-encoders, set-encoders, and what runs them."""
