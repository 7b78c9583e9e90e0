"""What a process leaves behind when it crashes: never its memory, which has keys in it."""

import contextlib
import resource


def keep_no_core() -> None:
    """Let no core file be written of this process and its children, whatever the system's limit is."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
