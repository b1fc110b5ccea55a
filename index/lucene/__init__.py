"""Lucene as the engine of the lexical part: the same documents and pipeline, with its analyzer, index and scores."""
