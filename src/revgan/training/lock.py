"""One process at a time trains in a run folder.

The lock is POSIX's (`fcntl`), of a file in the folder. The system drops it with the process that
holds it, however that ends, so none is ever left behind. Network disks hand it on to their server
(NFS from version 4 on by itself, before by lockd; SMB, Lustre, CephFS and GPFS too), so processes
of several machines exclude each other as well.
"""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from revgan.errors import UserError, notice

LOCK = ".lock"
"""The file's name; it exists while the run is trained, and after a kill until the next start."""

_HELD = (errno.EACCES, errno.EAGAIN)


@contextmanager
def trained_alone(root: Path) -> Iterator[None]:
    """Within, no other process trains in the run folder, which is made if it is missing.

    Raises:
        UserError: another one does; it is named.
        OSError: the folder can't be written.
    """
    made = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(root):
            yield
    finally:
        if made:
            with contextlib.suppress(OSError):  # it holds a run, or is gone
                root.rmdir()


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    handle = _open_locked(root)
    if handle is None:
        notice(f"the disk of {root} can't lock files: see to it that no other process trains there")
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a full disk: the name is only a help
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            os.truncate(handle, 0)
            os.write(
                handle, f"process {os.getpid()} on {socket.gethostname()} since {now}".encode()
            )
        yield
    finally:
        # First the file, then the lock: who opened it meanwhile sees that its name is gone.
        with contextlib.suppress(OSError):
            (root / LOCK).unlink()
        os.close(handle)


def _open_locked(root: Path) -> int | None:
    """The lock's file, open and locked; None where that can't be done."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    path = root / LOCK
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(handle, 200).decode(errors="replace")
            os.close(handle)
            if error.errno not in _HELD:
                path.unlink(missing_ok=True)
                return None
            raise UserError(
                f"{root} is being trained by {holder or 'another process'}; wait until that ends, "
                "or name another folder with --run"
            ) from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)  # it was removed by the process before, just now
