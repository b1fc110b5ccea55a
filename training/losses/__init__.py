"""Losses as pure functions of tensors: each with its shapes, its formula and where it comes from.

All compute in float32 whatever the scores come in, and in float64 where that is what comes in.
"""
