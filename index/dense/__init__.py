"""Dense index: inner-product search over memory-mapped vectors, by FAISS."""
