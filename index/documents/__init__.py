"""The document store: ids, titles, texts and metadata of every document, and filters over the metadata."""
