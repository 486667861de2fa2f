"""
The first program of every child: gives up root, asks to die with its parent, becomes the server.

Run by its path under ``python -I -S``; it imports nothing of the project, because a child that
gives up root may not be able to read it. Doing this here and not in the forked supervisor keeps
code between fork and exec, where locks of other threads may be held forever, out of it.
"""

import ctypes
import os
import pwd
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int, number: int) -> None:
    """Have the kernel send this signal when the parent ends, however it ends (Linux, prctl(2))."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent_pid:
        # It ended before we asked.
        os.kill(os.getpid(), signal.SIGKILL)


def give_up_root(user: str) -> None:
    """Go on as this user, with no other group than its own."""
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def main(arguments: list[str]) -> None:
    """Take: parent's pid, signal number, user or an empty text, then the program's argv."""
    parent_pid, number, user, *argv = arguments
    if user:
        give_up_root(user)
    # What a server writes into the state folder is for its own user's eyes.
    os.umask(0o077)
    # After the change of user, which clears it.
    die_with_parent(int(parent_pid), int(number))
    os.execv(argv[0], argv)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
