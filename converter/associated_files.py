# SPDX-License-Identifier: Apache-2.0
"""Associated files (labels, vocabularies): a zip archive behind the model (TFLite Metadata)."""

from __future__ import annotations

import io
import zipfile
import zlib

from converter.errors import ConversionError

_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first date, so that equal models give equal bytes
_LIMIT = 1 << 28  # unpacked bytes


def split_files(data: bytes) -> dict[str, bytes]:
    """The files of the archive behind a model, empty where there is none.

    Raises ConversionError for an archive that cannot be unpacked or is larger than 256 MiB.
    """
    stream = io.BytesIO(data)
    try:
        if not zipfile.is_zipfile(stream):
            return {}
        with zipfile.ZipFile(stream) as archive:
            if sum(info.file_size for info in archive.infolist()) > _LIMIT:
                raise ConversionError("its associated files unpack to more than 256 MiB")
            return {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
        raise ConversionError(
            f"the associated files behind the model are damaged ({error}); get the file again"
        ) from error


def append_files(model: bytes | bytearray, files: dict[str, bytes]) -> bytes:
    """`model` followed by an archive of `files`, stored uncompressed."""
    if not files:
        return bytes(model)
    stream = io.BytesIO(model)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return stream.getvalue()
