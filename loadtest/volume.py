"""A volume whose machine can crash: an ext4 of its own on a loop device, which loses what was not synced.

The kernel's own shutdown of a file system (`EXT4_IOC_SHUTDOWN`) ends all writing at one instant, its journal's too, as
losing power does. What is mounted afterwards is what recovery makes of what had been written by then.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import time
from pathlib import Path
from typing import Self

SHUTDOWN = 0x8004_587D
NO_LOG_FLUSH = 2
WITNESS_BYTES = 1 << 20


class CannotCrash(Exception):
    """The platform does not let us mount a file system of our own, or shut one down."""


class Volume:
    """Mounted at `path`; whoever has files open there must be gone before `mount_again`."""

    def __init__(self, folder: Path, size_bytes: int = 2 << 30) -> None:
        self.path = folder / "volume"
        self._image = folder / "volume.ext4"
        self._witness = self.path / "never-synced"
        self.path.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(size_bytes)

    @classmethod
    def made(cls, folder: Path) -> Self:
        """Make a file system, mount it, and let it crash once.

        Raises:
            CannotCrash: this platform does not allow it.
        """
        volume = cls(folder)
        try:
            _run("mkfs.ext4", "-q", "-F", str(volume._image))
            volume._mount()
            volume.crash()
            if not volume.mount_again():
                raise CannotCrash("what was never synced was there after a crash")
        except (OSError, subprocess.CalledProcessError) as problem:
            volume.close()
            said = getattr(problem, "stderr", None) or str(problem)
            raise CannotCrash(f"no file system of its own: {said.strip()}") from problem
        # Everybody may pass through: a server among those who use it has a user of its own.
        volume.path.chmod(0o755)
        return volume

    def crash(self) -> None:
        """End all writing now, with a file on the volume that nobody synced."""
        self._witness.write_bytes(b"\1" * WITNESS_BYTES)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def mount_again(self) -> bool:
        """Mount what is left; return whether what was never synced is gone, as it must be."""
        _unmount(self.path)
        self._mount()
        held = self._witness.read_bytes() if self._witness.exists() else b""
        self._witness.unlink(missing_ok=True)
        return b"\1" not in held

    def close(self) -> None:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            _unmount(self.path)
        self._image.unlink(missing_ok=True)

    def _mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.path))


def _unmount(path: Path, patience_s: float = 20.0) -> None:
    until_s = time.monotonic() + patience_s
    while True:
        try:
            return _run("umount", str(path))
        except subprocess.CalledProcessError:
            # A process that was killed lets go of its files a little later.
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
