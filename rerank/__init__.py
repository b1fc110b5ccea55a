"""Reranking and routing: cross-encoders, set-encoders, routers, calibration."""
