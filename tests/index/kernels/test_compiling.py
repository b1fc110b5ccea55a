"""What a kernel is kept under changes with every file that it may be made of."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = """
from retrieval.index.kernels.compiling import kernel
from {package}.callee import plus
@kernel
def outer(x):
    return plus(x)
"""


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
def test_a_changed_callee_is_compiled_anew(tmp_path: Path) -> None:
    """Numba by itself keeps what it made of a caller whose own file is as it was."""
    package = tmp_path / "kernels_copy"
    package.mkdir()
    (package / "__init__.py").touch()
    compiling = Path(__file__).parents[3] / "index" / "kernels" / "compiling.py"
    (package / "compiling.py").write_text(compiling.read_text())
    (package / "caller.py").write_text(
        SOURCE.format(package="kernels_copy").replace("retrieval.index.kernels.compiling", "kernels_copy.compiling")
    )

    def answer(amount: int) -> int:
        (package / "callee.py").write_text(
            f"from kernels_copy.compiling import kernel\n@kernel\ndef plus(x):\n    return x + {amount}\n"
        )
        code = "from kernels_copy.caller import outer; print(outer(1))"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        return int(done.stdout)

    assert answer(1) == 2
    assert answer(1000) == 1001
