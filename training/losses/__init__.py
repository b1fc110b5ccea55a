"""Losses as pure functions of tensors: each with its shapes, its formula and where it comes from."""
