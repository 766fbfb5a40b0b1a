"""A file for a network: JSON and arrays in one .npz, without pickle, whole or not there at all.

The archive is one that numpy.load reads. Its member "header" is JSON, as bytes: the format and its version, the fastnn
that wrote it, every array's dtype and shape, and the caller's own header. Nothing is compressed, so that a file cannot
grow in memory beyond its size on the disk. The same content gives the same bytes.
"""

import contextlib
import errno
import json
import math
import os
import re
import secrets
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

import fastnn

FORMAT = "fastnn.MLP"
VERSION = 1
HEADER = "header.npy"
DTYPES = ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")

# What zipfile, of any Python, and json raise when they are shown nonsense.
_NONSENSE = (zipfile.BadZipFile, RuntimeError, EOFError, ValueError, OverflowError, struct.error)


class _RefusedError(Exception):
    """What is wrong with a file, in words."""


def write(path: str | os.PathLike[str], header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write header, which JSON must take, and arrays of numbers into a file, atomically.

    The file at path is the old one, or none, until the new one is complete and on the disk. It keeps the old one's
    permissions.

    Raises
    ------
    TypeError, ValueError
        If JSON does not take the header, an array is not of booleans, integers or floats of at most 64 bits, its name
        is not made of letters, digits, "_" and ".", or path names something else than a file.
    OSError
        If the file cannot be written; then nothing has changed.
    """
    path = check_path(path)
    little = {name: _little_endian(name, array) for name, array in arrays.items()}
    description = {
        "format": FORMAT,
        "version": VERSION,
        "fastnn": fastnn.__version__,
        "arrays": {name: [array.dtype.str, list(array.shape)] for name, array in little.items()},
        "header": dict(header),
    }
    text = np.frombuffer(json.dumps(description).encode(), np.uint8)
    members = {HEADER: text} | {f"{name}.npy": array for name, array in little.items()}
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in members.items():
            # A ZipInfo of its own has a fixed date. The size is not known beforehand, so it might need 64 bits.
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the header and the arrays that `write` wrote.

    Sizes and dtypes are checked against the header and the file's length before an array is made, and every byte of
    the arrays against its checksum. Nothing in the file is executed.

    Raises
    ------
    ValueError
        If the file is truncated, damaged, not one of `write`'s or a newer fastnn's.
    OSError
        If it cannot be read; FileNotFoundError if there is none.
    """
    path = check_path(path)
    with open(path, "rb") as file:
        try:
            if file.read(4) != b"PK\3\4":
                raise _RefusedError("it is not a file of fastnn.MLP")
            with zipfile.ZipFile(file) as archive:
                return _read_archive(archive, os.fstat(file.fileno()).st_size)
        except _RefusedError as error:
            problem = str(error)
        except _NONSENSE as error:
            problem = f"it is truncated or damaged ({' '.join(str(error).split()) or type(error).__name__})"
        except OSError as error:
            if error.errno != errno.EINVAL:  # which is a seek to nowhere
                raise
            problem = "it is truncated or damaged (a part of it begins nowhere)"
    raise ValueError(f"cannot load {path}: {problem}")


def _read_archive(archive: zipfile.ZipFile, file_size: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    members = {info.filename: info for info in archive.infolist()}
    if HEADER not in members:
        raise _RefusedError("it is not a file of fastnn.MLP")
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise _RefusedError("it is compressed, and fastnn writes no compressed files")
    if len(members) != len(archive.infolist()) or sum(info.file_size for info in members.values()) > file_size:
        raise _RefusedError("it is damaged: its parts overlap")
    text = _read_array(archive, members.pop(HEADER), "|u1", None).tobytes()
    layout, header = _parse_header(text)
    if members.keys() != {f"{name}.npy" for name in layout}:
        raise _RefusedError("it is damaged: its arrays are not those that its header lists")
    arrays = {name: _read_array(archive, members[f"{name}.npy"], *entry) for name, entry in layout.items()}
    return header, arrays


def _parse_header(text: bytes) -> tuple[dict[str, tuple[str, tuple[int, ...]]], dict[str, Any]]:
    """Return dtype and shape by the array's name, and the caller's header."""
    description = json.loads(text)
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise _RefusedError("it is not a file of fastnn.MLP")
    version, writer = description.get("version"), description.get("fastnn")
    if type(version) is not int or version < 1:
        raise _RefusedError(f"it is damaged: its version is {version!r}")
    if version > VERSION:
        raise _RefusedError(
            f"it has version {version} of the format, and fastnn {fastnn.__version__} reads up to version {VERSION}; "
            f"use fastnn {writer}, which wrote it, or later"
        )
    entries, header = description.get("arrays"), description.get("header")
    if not isinstance(entries, dict) or not isinstance(header, dict):
        raise _RefusedError("it is damaged: its header is incomplete")
    layout = {}
    for name, entry in entries.items():
        match entry:
            case [str() as dtype, list() as shape] if dtype in DTYPES and all(type(n) is int and n >= 0 for n in shape):
                layout[name] = dtype, tuple(shape)
            case _:
                raise _RefusedError(
                    f"its header gives {entry!r} for array {name!r}, not a dtype of numbers and a shape"
                )
    return layout, header


def _read_array(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, dtype: str, shape: tuple[int, ...] | None
) -> NDArray[Any]:
    """Return the array of that dtype and shape (None: one dimension, all that is there), if the member is just that.

    What NumPy's format puts before the numbers follows from them, so it is compared and need not be parsed.
    """
    with archive.open(info) as member:
        magic, length = member.read(8), int.from_bytes(member.read(2), "little")
        description = member.read(length).rstrip()
        n_bytes = info.file_size - member.tell()
        shape = (n_bytes,) if shape is None else shape
        expected = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
        right_size = n_bytes == math.prod(shape) * np.dtype(dtype).itemsize
        if magic != b"\x93NUMPY\1\0" or description != expected or not right_size:
            raise _RefusedError(f"it is damaged: {info.filename} has not the size and dtype that the header gives it")
        data = bytearray(n_bytes)  # at most what the file has; the last byte's read compares the checksum
        rest = memoryview(data)
        while rest and (chunk := member.read(min(len(rest), 2**20))):
            rest[: len(chunk)] = chunk
            rest = rest[len(chunk) :]
        if rest:
            raise _RefusedError(f"it is damaged: {info.filename} is shorter than it says")
    array = np.frombuffer(data, dtype).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _little_endian(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if not re.fullmatch(r"[A-Za-z0-9_.]+", name) or f"{name}.npy" == HEADER:
        raise ValueError(f"names of arrays must be of letters, digits, '_' and '.', and not 'header'; got {name!r}")
    little = np.asarray(array, order="C")
    little = little.astype(little.dtype.newbyteorder("<"), copy=False)
    if little.dtype.str not in DTYPES:
        raise TypeError(f"array {name!r} must hold booleans, integers or floats of at most 64 bits; got {little.dtype}")
    return little


def check_path(path: str | os.PathLike[str]) -> str:
    """Return path as a str, if it is one that open takes."""
    try:
        name = os.fsdecode(path)
    except TypeError:
        raise TypeError(f"path must be a str or os.PathLike; got {path!r}") from None
    if "\0" in name:
        raise ValueError(f"path must not hold a null character; got {name!r}")
    return name


@contextlib.contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """Give a new file, which takes the place of that at path when all went well and vanishes when not."""
    path = os.path.realpath(path)  # a link stays, and what it names is replaced
    mode = os.stat(path).st_mode if os.path.exists(path) else None
    if mode is not None and not stat.S_ISREG(mode):
        raise ValueError(f"path must name a file; got {path!r}, which is something else")
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".fastnn-{secrets.token_hex(8)}.tmp")
    try:
        file = open(temporary, "xb")  # noqa: SIM115 - with the permissions that the umask leaves, unlike tempfile's
    except OSError as error:
        error.filename = path
        raise
    try:
        with file:
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Bring the new name to the disk too, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
