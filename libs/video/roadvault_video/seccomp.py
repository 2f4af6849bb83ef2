"""The filter on system calls: a process that has it computes, reads and writes what is open, and can do nothing else.

It needs no privilege and no library, and works wherever Linux does. What it lacks answers EPERM.
"""

import ctypes
import errno
import os
import platform
import struct

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""What the kernel calls them."""
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_ALLOWED = {
    # read write close fstat lseek munmap brk rt_sigaction rt_sigprocmask rt_sigreturn mremap sched_yield madvise
    # nanosleep getpid exit gettimeofday sigaltstack gettid futex restart_syscall clock_gettime clock_nanosleep
    # exit_group getrandom
    "x86_64": (0, 1, 3, 5, 8, 11, 12, 13, 14, 15, 25, 24, 28, 35, 39, 60, 96, 131, 186, 202, 219, 228, 230, 231, 318),
    "aarch64": (
        *(63, 64, 57, 80, 62, 215, 214, 134, 135, 139, 216, 124, 233, 101, 172, 93, 169, 132, 178, 98, 128, 113, 115),
        *(94, 278),
    ),
}
_MAPPING = {"x86_64": (9, 10), "aarch64": (222, 226)}
"""mmap and mprotect: allowed, unless the memory is to be run."""
_PROT_EXEC = 4
_NUMBER, _ARCHITECTURE, _THIRD = 0, 4, 32
"""Offsets in what the filter is shown: the call, the architecture, the lower half of the third argument."""
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_KILL, _ALLOW, _REFUSE = 0x80000000, 0x7FFF0000, 0x00050000 | errno.EPERM
_PR_SET_NO_NEW_PRIVS, _SET_MODE_FILTER, _ALL_THREADS = 38, 1, 1


class Unfiltered(Exception):
    """The kernel, or the machine's kind, has no such filter."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install() -> None:
    """Filter this process, all its threads, for ever.

    Raises:
        Unfiltered: That can't be done here; nothing may go on as if it were.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise Unfiltered(f"there is no list of system calls for {machine}")
    code = _program(machine)
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise Unfiltered(f"no_new_privs: {os.strerror(ctypes.get_errno())}")
    if libc.syscall(_SECCOMP[machine], _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(program)) != 0:
        raise Unfiltered(f"seccomp: {os.strerror(ctypes.get_errno())}")


def _program(machine: str) -> bytes:
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, _ARCHITECTURES[machine], yes=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    for number in _ALLOWED[machine]:
        steps += [_step(_EQUAL, number, no=1), _step(_RETURN, _ALLOW)]
    for number in _MAPPING[machine]:
        steps += [_step(_EQUAL, number, no=4), _step(_LOAD, _THIRD), _step(_ANY_BIT, _PROT_EXEC, yes=1)]
        steps += [_step(_RETURN, _ALLOW), _step(_RETURN, _REFUSE)]
    return b"".join([*steps, _step(_RETURN, _REFUSE)])


def _step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """Return an instruction; `yes` and `no` are how many more are left out then."""
    return struct.pack("=HBBI", code, yes, no, value)
