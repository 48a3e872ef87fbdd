"""`python refusing.py CALL=ERRNO… -- COMMAND …`: run a command in which the kernel refuses these calls (seccomp)."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

NUMBERS = {
    "x86_64": {"flock": 73, "rt_sigtimedwait": 128, "memfd_create": 319, "pidfd_send_signal": 424, "pidfd_open": 434},
    "aarch64": {"flock": 32, "rt_sigtimedwait": 137, "memfd_create": 279, "pidfd_send_signal": 424, "pidfd_open": 434},
}
LOAD_NUMBER, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def refuse(errors: dict[str, int]) -> None:
    numbers = NUMBERS[os.uname().machine]
    steps = [(LOAD_NUMBER, 0, 0, 0)]
    for name, error in errors.items():
        steps += [(JUMP_IF_EQUAL, 0, 1, numbers[name]), (RETURN, 0, 0, ERRNO | error)]
    steps.append((RETURN, 0, 0, ALLOW))
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(steps), code)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    end = sys.argv.index("--")
    pairs = (each.split("=") for each in sys.argv[1:end])
    refuse({name: int(error) for name, error in pairs})
    os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])
