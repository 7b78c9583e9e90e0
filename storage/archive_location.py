"""Histories outside the ledger: any place that fsspec reaches (a folder, S3, Google Cloud Storage, Azure, …).

fsspec and the place's own package are the extra `archive`; who may write there is told by that package's own
environment, never by the address.
"""

import asyncio
import importlib
import os
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from domain.errors import ConfigurationError, RecordDamaged, StoreUnavailable


class FsspecLocation:
    """Implements `storage.archive.Location`.

    Parameters
    ----------
    url
        Such as `s3://bucket/volex` or `file:///var/lib/volex/histories`.

    Raises
    ------
    ConfigurationError
        When fsspec, or its package for that kind of place, is not installed.
    """

    def __init__(self, url: str) -> None:
        advice = f"Install volex[archive], and fsspec's package for {urlsplit(url).scheme or 'files'}."
        try:
            core = importlib.import_module("fsspec.core")
            found: tuple[Any, str] = core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"ARCHIVE_URL cannot be used: {error}", advice=advice) from None
        self._files, self._root = found[0], PurePosixPath(found[1])

    async def write(self, path: str, packed: bytes) -> None:
        """Write beside it, then move it there: object stores and file systems both do that whole."""
        await self._asked(self._write, path, packed)

    async def read(self, path: str) -> bytes:
        """Return the file."""
        return bytes(await self._asked(self._read, path))

    def _write(self, path: str, packed: bytes) -> None:
        target = self._root / path
        self._files.makedirs(str(target.parent), exist_ok=True)
        draft = f"{target}.{os.getpid()}.part"
        self._files.pipe_file(draft, packed)
        self._files.mv(draft, str(target))

    def _read(self, path: str) -> bytes:
        return bytes(self._files.cat_file(str(self._root / path)))

    async def _asked(self, work: Any, *arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(work, *arguments)
        except FileNotFoundError:
            raise RecordDamaged(f"the archived history {arguments[0]} is not where the ledger says it is") from None
        except Exception as error:
            # Each kind of place has errors of its own; whatever it was, the history is still owed and tried again.
            raise StoreUnavailable(f"the archive does not answer: {type(error).__name__}") from error


__all__ = ["FsspecLocation"]
