"""Routers are made here, and measured: what data, indexes and a router's folder have to do with each other."""
