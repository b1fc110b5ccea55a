"""How a model is run: batches of tokens, a tokenising thread, and torch, OpenVINO or ONNX Runtime below."""
