"""Keep freed memory instead of returning it: every step of training asks for the same blocks again.

glibc gives large blocks back to the kernel as soon as they are free, and the next step faults them in anew,
page by page; a fifth and more of a step can go into that.
"""

from __future__ import annotations

import ctypes
import mmap
import platform

# Numbers of malloc.h
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
HUGE_PAGE = 2 << 20


def keep_memory(reserve_bytes: int = 1 << 30) -> bool:
    """Tell the C library to keep what is freed, and the kernel to back it with huge pages where it may.

    To be called once, when a process starts. The reserve is address space; memory is used when it is touched.

    Returns:
        Whether anything was done: this is glibc's interface, and other systems are left as they are.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    most = 2**31 - 1
    done = [
        libc.mallopt(M_MMAP_MAX, 0),
        libc.mallopt(M_TRIM_THRESHOLD, most),
        libc.mallopt(M_TOP_PAD, 64 << 20),
    ]
    if all(done):
        _reserve(libc, reserve_bytes)
    return all(done)


def _reserve(libc: ctypes.CDLL, size: int) -> None:
    """Grow the heap by `size` bytes, ask for huge pages there, and free it: it stays with the process."""
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    start = libc.malloc(size)
    if not start:
        return
    first = -(-start // HUGE_PAGE) * HUGE_PAGE
    # Advice only: a kernel without huge pages declines, and nothing is lost.
    libc.madvise(first, (start + size - first) // HUGE_PAGE * HUGE_PAGE, mmap.MADV_HUGEPAGE)
    libc.free(start)
