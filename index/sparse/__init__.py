"""The learned-sparse part of an artifact."""
