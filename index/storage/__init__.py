"""Bytes on disk: files checked before they are believed, arrays and Arrow batches in them, the writer's lock."""
