"""What the figures of a run were taken on."""

import os
import platform
from typing import Any

import psutil


def machine() -> dict[str, Any]:
    """Return the machine's size and system, and how busy it was."""
    return {
        "cpus": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 1),
    }
