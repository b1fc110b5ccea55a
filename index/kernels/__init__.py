"""Compiled kernels: pure functions on contiguous arrays, each beside its plain NumPy reference."""
