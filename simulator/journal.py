"""The append-only ledger of what truly happened, and the venue's memory: read again at the next start."""

import json
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path


class Journal:
    """Lines of JSON in a file, or nowhere."""

    def __init__(self, path: Path | None) -> None:
        self._file: FileIO | None = None
        self._path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)

    def read(self) -> Iterator[dict[str, object]]:
        """Yield every whole entry; a line that a crash cut off is the last one and is left out."""
        if self._path is None or not self._path.exists():
            return
        whole = 0
        with self._path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                yield json.loads(line)
        if whole < self._path.stat().st_size:
            with self._path.open("r+b") as file:
                file.truncate(whole)

    def write(self, kind: str, entry: Mapping[str, object]) -> None:
        """Append an entry; it is with the operating system when this returns, so a crash of ours keeps it."""
        if self._path is None:
            return
        if self._file is None:
            self._file = FileIO(self._path, "a")
        self._file.write(json.dumps({"kind": kind, **entry}, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
