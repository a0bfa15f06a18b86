"""How the C library keeps the memory that XLA asks for again and again.

On a CPU XLA allocates the buffers of a program at each of its calls and frees them afterwards. The
GNU C library gives large blocks back to the system at once, which fills each page with zeros before
it hands it out again: of a training step that is a program of its own (treecall, 32 documents, two
layers of Mamba of width 64) that is a third of the time.
"""

import ctypes
import functools
import sys

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8
"""Parameters of ``mallopt`` (malloc.h of the GNU C library)."""

NEVER = 2**31 - 1
"""The largest threshold."""

ARENAS = 16
"""Most arenas. Each thread takes its memory from one, and what an arena keeps is of use to its own
threads alone, so that there have to be few of them; by default there may be eight for each core.
But one is too few: XLA's compiler leaves it in pieces, and all operations of a step wait for it.
DeltaNet's step takes 1.4 times as long then."""

HEAP = 64 * 2**20
"""Size in bytes of the parts of which an arena consists, other than that of the main thread."""


@functools.cache
def keep_memory() -> bool:
    """Keep freed memory in this process for its next allocation.

    Blocks of more than `HEAP` are kept for the main thread alone: for any other the library maps
    them one by one, whatever it is told. The process stays as large as it ever was. Has to be
    called before threads allocate: in a program of your own, before jax is first used.

    Returns:
        Whether the C library can be told so; False for others than the GNU one.
    """
    # On Windows the loaded libraries have no common handle, which None stands for here.
    tell = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if tell is None:
        return False
    # No block is mapped by itself, since such a block is given back when it is freed; and no part
    # of an arena is given back when all of it is free, which a pad as large as it prevents.
    settings = ((ARENA_MAX, ARENAS), (MMAP_MAX, 0), (TRIM_THRESHOLD, NEVER), (TOP_PAD, HEAP))
    told = [tell(name, value) for name, value in settings]
    return all(told)
