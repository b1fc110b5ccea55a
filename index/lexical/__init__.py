"""Lexical index: BM25 scores computed when the index is built, as in BM25S (arXiv 2407.03618)."""
