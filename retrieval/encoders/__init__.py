"""Encoders: texts in, vectors out. Importing this package loads no model and no torch."""
