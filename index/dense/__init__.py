"""Dense index: exact inner-product search over memory-mapped vectors, by FAISS."""
