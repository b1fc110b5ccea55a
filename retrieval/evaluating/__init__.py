"""How systems are measured: retrievers and a test collection become results, one by one or as a suite."""
