"""What the encoding benchmark measures: a process that holds one engine and does what it is asked, line by line."""

import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from workers import serve

from retrieval.beir_eval.cost import peak_bytes

PEER = "sentence-transformers"

ENGINES: dict[str, dict[str, Any]] = {
    "torch-fp32": {"device": "cpu", "precision": "fp32", "runtime": "torch"},
    "openvino-fp32": {"device": "cpu", "precision": "fp32", "runtime": "openvino"},
    "onnx-fp32": {"device": "cpu", "precision": "fp32", "runtime": "onnx"},
    "torch-bf16": {"device": "cpu", "precision": "bf16", "runtime": "torch"},
    "openvino-bf16": {"device": "cpu", "precision": "bf16", "runtime": "openvino"},
    "openvino-int8": {"device": "cpu", "precision": "int8", "runtime": "openvino"},
    "cuda-fp32": {"device": "cuda", "precision": "fp32", "runtime": "torch"},
    "cuda-bf16-padded": {"device": "cuda", "precision": "bf16", "runtime": "torch", "padded": True},
    "cuda-bf16-unpadded": {"device": "cuda", "precision": "bf16", "runtime": "torch"},
}
OURS = tuple(ENGINES)

_GEMM, _TIMES = 2048, 10
_WARM = 64


def missing(name: str) -> str | None:
    """Why an engine cannot run here; None if it can."""
    from retrieval.encoders.runtimes.precision import cpu_has

    if name == PEER:
        return None
    engine = ENGINES[name]
    package = {"openvino": "openvino", "onnx": "onnxruntime"}.get(engine["runtime"])
    if package and find_spec(package) is None:
        return f"{package} is not installed"
    if engine["device"] == "cpu" and engine["precision"] == "bf16" and not cpu_has("bfloat16"):
        return "this CPU has no bfloat16"
    if name == "cuda-bf16-unpadded":
        from transformers.utils.import_utils import is_flash_attn_2_available

        return None if is_flash_attn_2_available() else "no attention without padding is installed"
    return None


class Engine:
    """One of ours, or sentence-transformers."""

    def load(
        self, engine: str, model: str, device: str, threads: int, batch_tokens: int | None, cpu_time: bool
    ) -> dict[str, Any]:
        """Load the model."""
        import torch
        from sentence_transformers import SentenceTransformer

        from retrieval.encoders import dense

        torch.set_num_threads(threads)
        self.threads, self.device, begun = threads, device, time.perf_counter()
        self.clock = time.process_time if cpu_time else time.perf_counter
        if engine == PEER:
            self.model: Any = SentenceTransformer(dense.locate(model), device=device)
        else:
            settings = dict(ENGINES[engine])
            if settings.pop("padded", False):
                dense._attention = lambda choice: {}  # what is compared with is taken away
            settings["device"] = device
            self.model = dense.load_encoder(model, batch_tokens=batch_tokens, **settings)
        self.is_peer = engine == PEER
        return {"load": time.perf_counter() - begun}

    def prepare(self, texts: str) -> dict[str, Any]:
        """Calibrate, and encode a few."""
        self.texts = orjson.loads(Path(texts).read_bytes())
        begun, made = time.perf_counter(), {}
        if not self.is_peer and self.model.sample:
            drawn = np.random.default_rng(0).permutation(len(self.texts))[: self.model.sample]
            self.model.calibrate([self.texts[place] for place in drawn])
            made = {"calibration": time.perf_counter() - begun}
        self._run(self.texts[:_WARM])
        return made

    def _run(self, texts: list[str]) -> Any:
        if self.is_peer:
            return self.model.encode(texts, show_progress_bar=False)
        return self.model.encode_documents(texts, lambda done: None)

    def encode(self) -> dict[str, Any]:
        """All documents, once."""
        begun = self.clock()
        self._run(self.texts)
        return {"seconds": self.clock() - begun, "peak": peak_bytes()}

    def count(self, texts: str) -> dict[str, Any]:
        """Tokens of all texts, and operations that they need."""
        import torch

        tokenizer, limit = self.model.tokenizer, self.model.max_seq_length
        found = tokenizer(orjson.loads(Path(texts).read_bytes()), truncation=True, max_length=limit)["input_ids"]
        lengths = np.array([len(row) for row in found], dtype=np.float64)
        body = self.model[0].model
        linear = [
            (module.weight.numel(), name)
            for name, module in body.named_modules()
            if isinstance(module, torch.nn.Linear) and "pooler" not in name
        ]
        config = body.config
        attention = 4 * config.num_hidden_layers * config.hidden_size
        operations = 2 * sum(size for size, _ in linear) * lengths.sum() + attention * (lengths**2).sum()
        return {"tokens": int(lengths.sum()), "operations": float(operations)}

    def gemm(self) -> dict[str, Any]:
        """Operations a second of a product of matrices in each precision, and what the clock and the width allow.

        In float32 NumPy's counts where it is faster: the library that torch brings is slow on some makers' CPUs.
        """
        import torch

        one, other = (torch.rand(_GEMM, _GEMM, device=self.device) for _ in range(2))
        half = [matrix.bfloat16() for matrix in (one, other)]
        products: dict[str, list[Callable[[], Any]]] = {
            "fp32": [lambda: one @ other],
            "bf16": [lambda: half[0] @ half[1]],
        }
        if self.device == "cpu":
            plain = [matrix.numpy() for matrix in (one, other)]
            products["fp32"].append(lambda: plain[0] @ plain[1])
        best = {
            name: min(self._seconds(work) for work in works for _ in range(_TIMES)) for name, works in products.items()
        }
        rates = {name: 2 * _GEMM**3 / seconds for name, seconds in best.items()}
        return {"gemm": rates, "theory": _theory(self.threads) if self.device == "cpu" else None}

    def _seconds(self, work: Callable[[], Any]) -> float:
        import torch

        begun = self.clock()
        work()
        if self.device != "cpu":
            torch.cuda.synchronize()
        return self.clock() - begun

    def quality(self, data: str, out: str) -> dict[str, Any]:
        """nDCG@10 of a collection's test split."""
        import retrieval
        from retrieval.beir_eval.datasets import load_collection

        index = retrieval.Index.build(data, out, lexical=False, dense=self.model)
        retriever = retrieval.Retriever(index, using="dense", encoder=self.model)
        results = retrieval.evaluate(load_collection(Path(data)), [retriever], measures=["nDCG@10"], k=100)
        return {"ndcg": next(iter(results[0].measures.values()))}


def _theory(threads: int) -> float | None:
    """Float operations a second of two fused multiply-adds a cycle; None where the system does not tell of a clock."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    clocks = [float(line.split(":")[1]) for line in text.splitlines() if line.startswith("cpu MHz")]
    width = 16 if " avx512f" in text else 8 if " avx2" in text else 0
    return threads * max(clocks) * 1e6 * 2 * 2 * width if clocks and width else None


if __name__ == "__main__":
    serve(Engine())
