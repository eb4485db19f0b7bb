"""Triton's interpreter in half the time: what it does for each operation is done once."""

import functools

import numpy as np


def hasten() -> None:
    """Replace functions of the interpreter by quicker ones that do the same.

    Triton before 3.4 has other ones and stays as it is.
    """
    from triton import language
    from triton.runtime import interpreter

    try:
        from triton.language.semantic import TritonSemantic
    except ImportError:
        return

    get_np_dtype, dtypes = interpreter._get_np_dtype, {}

    def np_dtype(dtype):
        """Numpy's type, which the name of Triton's tells."""
        if dtype.name not in dtypes:
            dtypes[dtype.name] = get_np_dtype(dtype)
        return dtypes[dtype.name]

    patch_lang, call = interpreter._patch_lang, interpreter.GridExecutor.__call__
    launches = []  # the modules that are patched, of each launch that runs

    @functools.cache
    def modules(fn):
        known = (language, language.core)
        return frozenset(known.index(v) for v in fn.__globals__.values() if v in known)

    def patch_once(fn):
        """Patch the language for a launch, not again for each function that it calls."""
        if launches and modules(fn) in launches[-1]:
            return None
        if launches:
            launches[-1].add(modules(fn))
        return patch_lang(fn)

    @functools.wraps(call)
    def launch(self, *args, **kwargs):
        launches.append(set())
        try:
            return call(self, *args, **kwargs)
        finally:
            launches.pop()

    def check_overflow(self, left, right, operation):
        """The same check of integers without nine operations of the interpreter."""
        dtype = left.type.scalar
        if dtype.int_bitwidth >= 64 or not self.builder.options.sanitize_overflow:
            return
        assert dtype == right.type.scalar and dtype.is_int()
        function = dict(add=np.add, sub=np.subtract, mul=np.multiply)[operation.__name__]
        result = function(left.handle.data, right.handle.data, dtype=np.int64)
        least, most = dtype.get_int_min_value(), dtype.get_int_max_value()
        assert least <= result.min() and result.max() <= most, f'{dtype} overflow'

    interpreter._get_np_dtype = np_dtype
    interpreter._patch_lang = patch_once
    interpreter.GridExecutor.__call__ = launch
    TritonSemantic.binary_op_sanitize_overflow_impl = check_overflow
