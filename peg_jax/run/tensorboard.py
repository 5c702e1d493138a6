"""TensorBoard event files, written in the caller's own thread.

tensorboardX's `SummaryWriter` writes in a thread of its own, which a full disk ends with a traceback; the next calls
then wait for it for ever. Its parts do the same work here, and errors come back to the caller.
"""

import os
import time
from pathlib import Path

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from peg_jax.run.files import disk_error


class Board:
    """One event file."""

    def __init__(self, folder: Path, purge_step: int) -> None:
        """Begin a file in `folder`; what earlier files say of `purge_step` and later steps is hidden by TensorBoard.

        Raises:
          DiskError: when the disk refuses.
        """
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._events = EventsWriter(str(folder / "events"), f".{os.getpid()}")
            self._add(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))
            self.flush()
        except OSError as error:
            raise disk_error(folder, error) from error

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add one point of a curve."""
        self._add(Event(step=step, summary=Summary(value=[Summary.Value(tag=name, simple_value=value)])))

    def image(self, name: str, picture: np.ndarray, step: int) -> None:
        """Add a picture, uint8 [H, W, 3]."""
        self._add(Event(step=step, summary=summary.image(name, picture, dataformats="HWC")))

    def animation(self, name: str, gif: bytes, height: int, width: int, step: int) -> None:
        """Add a GIF as it is; TensorBoard plays it."""
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
        self._add(Event(step=step, summary=Summary(value=[Summary.Value(tag=name, image=image)])))

    def flush(self) -> None:
        """Bring what was added to disk.

        Raises:
          DiskError: when the disk refuses.
        """
        try:
            self._events.flush()
        except OSError as error:
            raise disk_error(self._folder, error) from error

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._events.close()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        try:
            self._events.write_event(event)
        except OSError as error:
            raise disk_error(self._folder, error) from error
