"""Asking the processor for memory before it is read, which compiled code can and Python cannot."""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

__all__ = ["prefetch"]

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def prefetch(array: Any, index: int) -> None:
        """Nothing, where nothing is compiled."""

else:

    @intrinsic
    def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
        """Fetch the cache line that holds an element of a one-dimensional contiguous array; any index is harmless."""
        del typing_context

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            view = context.make_array(array)(context, builder, arguments[0])
            place = context.cast(builder, arguments[1], index, types.intp)
            address = builder.bitcast(builder.gep(view.data, [place]), cgutils.voidptr_t)
            kinds = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, *[ir.IntType(32)] * 3])
            insert = cgutils.get_or_insert_function
            fetch = insert(builder.module, kinds, "llvm.prefetch.p0i8")  # type: ignore[no-untyped-call]
            # To be read (0), kept in every cache (3), data (1).
            builder.call(fetch, [address, *(ir.IntType(32)(value) for value in (0, 3, 1))])
            return context.get_dummy_value()

        return types.void(array, index), generate
