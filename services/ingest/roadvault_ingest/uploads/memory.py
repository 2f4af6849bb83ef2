"""How the C library keeps the memory of what was received."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3), from glibc's malloc.h."""
_PIECE_BYTES = 8 << 20
"""Longer than anything that is received in one piece."""
_KEPT_BYTES = 128 << 20


def keep_freed() -> None:
    """Have the C library use freed memory again; by default it returns each long piece, and the next is paged in anew.

    Where the C library has no such parameters, this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _PIECE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
