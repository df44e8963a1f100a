"""Files in and out: regular files only, strict JSON, atomic writes."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

from numpy_bert.errors import InputError, NumpyBertError, OutputError
from numpy_bert.locks import temporary_file, temporary_folder
from numpy_bert.messages import must_be, named, quoted

__all__ = [
    "as_file",
    "as_folder",
    "check_output",
    "check_pointer",
    "check_space",
    "decode_json",
    "decode_lines",
    "decode_text",
    "encode_json",
    "file_size",
    "flush_folder",
    "free_space",
    "is_listed",
    "is_pointer",
    "look",
    "make_folder",
    "not_utf8",
    "permissions",
    "read_bytes",
    "read_json",
    "split_lines",
    "take_name",
    "target_of",
    "trouble",
    "write_atomically",
    "writing",
    "writing_folder",
]

# How a Git LFS pointer begins, and how large one may be, by its specification.
_POINTER = b"version https://git-lfs"
_LARGEST_POINTER = 1024
# Values of a JSON file, of which each takes some 100 bytes: a vocabulary has one for each word.
_MOST_VALUES = 1_000_000
_ABSENT = "does not exist"
# What the system says where there is no more room.
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def look(path: Path) -> Literal["absent", "unreadable", "file", "folder", "other"]:
    """Tell what a path leads to, without opening it: the one place where that is decided.

    What has a name and cannot be looked at is "unreadable", never "absent": a link to a file that
    is gone or to itself, what is in a folder that may not be entered, a file in the place of a
    folder on the way, a name that is too long. So a file that is optional may be passed over where
    it is "absent", and nowhere else; `file_size`, and all that reads, say what is wrong with one
    that is "unreadable". "other" is a pipe, socket or device.

    Examples
    --------
    >>> look(Path(__file__)), look(Path(__file__).parent), look(Path(__file__).parent / "no.py")
    ('file', 'folder', 'absent')
    >>> look(Path(__file__) / "config.json")
    'unreadable'
    """
    status = _status(path)
    if isinstance(status, str):
        return "absent" if status == _ABSENT else "unreadable"
    if stat.S_ISREG(status.st_mode):
        return "file"
    return "folder" if stat.S_ISDIR(status.st_mode) else "other"


def is_listed(path: Path) -> bool:
    """Tell whether anything has this name, be it a link to a file that is gone; see `look`.

    Examples
    --------
    >>> is_listed(Path(__file__)), is_listed(Path(__file__).parent / "no.py")
    (True, False)
    """
    return look(path) != "absent"


def trouble(path: Path) -> str:
    """Say why a path cannot be looked at, without the path itself; "" where it can be.

    Examples
    --------
    >>> trouble(Path(__file__)), trouble(Path(__file__).parent / "no.py")
    ('', 'does not exist')
    """
    status = _status(path)
    return status if isinstance(status, str) else ""


def _status(path: Path) -> os.stat_result | str:
    """Return what the system says of a path; where it says nothing, why."""
    try:
        return path.stat()
    except FileNotFoundError:
        # A link whose file is gone has a name; and so may one on the way to the path.
        nearest = next((p for p in (path, *path.parents) if os.path.lexists(p)), path)
        if nearest.is_dir():
            return _ABSENT
        if nearest == path:
            return "is a link to a file that is gone" if path.is_symlink() else _ABSENT
        return f"lies in {quoted(nearest.name)}, which is no folder, or a link to one that is gone"
    except OSError as failure:
        return f"cannot be looked at ({failure.strerror})"
    except ValueError:  # a NUL in it, or half of a surrogate pair
        return "cannot be a path"


def file_size(path: Path, *, error: type[NumpyBertError]) -> int:
    """Return the size in bytes of a regular file that can be read; raise `error` otherwise.

    Asking first keeps a FIFO or a device from being opened, which could block for ever.
    """
    status = _status(path)
    if isinstance(status, str):
        raise error(f"{named(path)}: {status}.")
    if stat.S_ISDIR(status.st_mode):
        raise error(f"{named(path)}: is a folder; name a file.")
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{named(path)}: is not a regular file (a pipe, socket or device).")
    if not os.access(path, os.R_OK):
        raise error(f"{named(path)}: may not be read (permission denied).")
    return status.st_size


def read_bytes(path: Path, *, error: type[NumpyBertError], limit: int) -> bytes:
    """Return the whole of a regular file of at most `limit` bytes; raise `error` otherwise.

    A Git LFS pointer in the place of the file is refused by that name.
    """
    size = file_size(path, error=error)
    if size > limit:
        raise error(f"{named(path)}: has {size:,} bytes; at most {limit:,} are read.")
    try:
        with path.open("rb") as file:
            data = file.read(size + 1)
    except OSError as failure:
        raise error(f"{named(path)}: cannot be read ({failure.strerror}).") from None
    if len(data) != size:
        raise error(f"{named(path)}: changed while it was read; try again.")
    check_pointer(data, where=str(path), error=error)
    return data


def is_pointer(data: bytes) -> bool:
    r"""Tell whether bytes are a Git LFS pointer, which stands for a file that was not downloaded.

    References
    ----------
    .. [1] git-lfs, docs/spec.md, "The Pointer".

    Examples
    --------
    >>> is_pointer(b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 9\n")
    True
    """
    return data.startswith(_POINTER) and len(data) < _LARGEST_POINTER


def check_pointer(data: bytes, *, where: str, error: type[NumpyBertError]) -> None:
    """Raise `error` if bytes are a Git LFS pointer in the place of a file.

    `read_bytes` and `read_json` call it themselves.

    Parameters
    ----------
    data : bytes
        The whole file, or what begins it.
    where : str
        What messages call the file.
    error : type of NumpyBertError
        What to raise.
    """
    if is_pointer(data):
        raise error(
            f"{quoted(where)}: is a Git LFS pointer: the file itself was not downloaded. Run git "
            "lfs pull in its repository, or download the file."
        )


def split_lines(
    lines: Iterable[bytes], *, where: str, error: type[NumpyBertError], keepends: bool = False
) -> Iterator[bytes]:
    r"""Yield the lines of a file without their ends, as every command reads its texts.

    A line ends with ``\n`` or ``\r\n``, the last one may have no end. A byte order mark is no text.
    Where nothing but lone ``\r`` could end a line, the file is refused.

    Parameters
    ----------
    lines : iterable of bytes
        A file that is open for reading bytes, or its lines with their ends.
    where : str
        What it is called in a message.
    error : type of NumpyBertError
        The error to raise.
    keepends : bool
        Whether the ends are left on the lines.

    Examples
    --------
    >>> import io
    >>> list(split_lines(io.BytesIO(b"one\r\ntwo"), where="a.txt", error=NumpyBertError))
    [b'one', b'two']
    """
    for number, raw in enumerate(lines):
        line = raw if number else raw.removeprefix(b"\xef\xbb\xbf")
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if not number and b"\r" in text and not line.endswith(b"\n"):
            raise error(
                f"{quoted(where)}: its lines end with CR alone, as of old Macs, so all of it is "
                "one line; convert its line ends to LF."
            )
        if line:
            yield line if keepends else text


def decode_lines(lines: Iterable[bytes], *, where: str, error: type[NumpyBertError]) -> list[str]:
    r"""Return the lines of a UTF-8 file, as `split_lines` has them.

    U+2028, U+0085, a form feed or a lone ``\r``, at which ``str.splitlines`` cuts, end none.

    Parameters
    ----------
    lines : iterable of bytes
        A file that is open for reading bytes.
    where : str
        What it is called in a message.
    error : type of NumpyBertError
        The error to raise at a line that is not UTF-8, which it names.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO("one\u2028and\r\ntwo".encode())
    >>> [ascii(line) for line in decode_lines(file, where="a.txt", error=NumpyBertError)]
    ["'one\\u2028and'", "'two'"]
    """
    texts = []
    for number, line in enumerate(split_lines(lines, where=where, error=error), 1):
        try:
            texts.append(line.decode("utf-8"))
        except UnicodeDecodeError as failure:
            raise error(
                f"{quoted(where)}: line {number}: {not_utf8(failure)}; convert the file, or mend "
                "the line."
            ) from None
    return texts


def not_utf8(failure: UnicodeDecodeError) -> str:
    r"""Say where bytes are not UTF-8.

    Examples
    --------
    >>> try:
    ...     b"ab\xff".decode()
    ... except UnicodeDecodeError as failure:
    ...     not_utf8(failure)
    'is not UTF-8 (byte 2, 0xff)'
    """
    return f"is not UTF-8 (byte {failure.start}, 0x{failure.object[failure.start]:02x})"


def decode_text(data: bytes, *, where: str, error: type[NumpyBertError]) -> str:
    r"""Return UTF-8 as text, without its byte order mark; an error names the line that is none.

    Examples
    --------
    >>> decode_text(b"one\ntwo \xff", where="a", error=NumpyBertError)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.NumpyBertError: a: line 2 is not UTF-8 (byte 8, 0xff); convert the file...
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = data[: failure.start].count(b"\n") + 1
        raise error(
            f"{quoted(where)}: line {line} {not_utf8(failure)}; convert the file, or mend the line."
        ) from None


def read_json(
    path: Path, *, error: type[NumpyBertError], limit: int = 1 << 20, finite: bool = True
) -> dict[str, Any]:
    """Read a JSON object strictly; raise `error` naming the file and the place otherwise.

    Parameters
    ----------
    path : Path
        A regular file of at most `limit` bytes.
    error : type of NumpyBertError
        What to raise.
    limit : int
        Largest size that is read, in bytes.
    finite : bool
        Whether NaN, Infinity and numbers beyond float64 are refused. Python's own reader, and so
        other programs, takes them; whoever does too must check the numbers that count.

    Returns
    -------
    dict
        The object. Refused are duplicate keys (JSON keeps the last), byte order marks, and anything
        that is not an object at the top.
    """
    data = read_bytes(path, error=error, limit=limit)
    return decode_json(data, where=str(path), error=error, finite=finite)


def decode_json(
    data: bytes, *, where: str, error: type[NumpyBertError], finite: bool = True
) -> dict[str, Any]:
    """Decode the bytes of a JSON object as strictly as `read_json` does."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for key, member in pairs:
            if key in members:
                raise error(f"{where}: the key {quoted(key)} stands twice; keep one.")
            members[key] = member
        return members

    def constant(name: str) -> float:
        raise error(f"{where}: {name} is not JSON; write a finite number.")

    def number(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value):
            raise error(f"{where}: {quoted(digits)} is beyond float64.")
        return value

    if not data:
        raise error(f"{where}: must be a JSON object; got an empty file.")
    # Each but the first has one of these before it.
    if len(data) > _MOST_VALUES and sum(map(data.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise error(f"{where}: holds more than {_MOST_VALUES:,} values; so many are not read.")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=unique,
            parse_constant=constant if finite else float,
            parse_float=number if finite else float,
        )
    except UnicodeDecodeError as failure:
        raise error(f"{where}: is not UTF-8 (byte {failure.start}).") from None
    except json.JSONDecodeError as failure:
        place = f"line {failure.lineno}, column {failure.colno}"
        raise error(f"{where}: is not JSON ({failure.msg}: {place}).") from None
    except RecursionError:
        raise error(f"{where}: is nested too deeply for a JSON file.") from None
    except ValueError as failure:
        if isinstance(failure, NumpyBertError):
            raise
        # Python refuses to convert integers of more than 4300 digits.
        raise error(f"{where}: holds a number that is too long ({failure}).") from None
    if not isinstance(value, dict):
        raise error(f"{where}: must be a JSON object; got {quoted(value)}.")
    return value


def encode_json(value: object) -> bytes:
    """Return a JSON file to be read by people, too.

    Examples
    --------
    >>> print(encode_json({"name": "é"}).decode(), end="")
    {
      "name": "é"
    }
    """
    return f"{json.dumps(value, indent=2, ensure_ascii=False)}\n".encode()


@contextmanager
def permissions(error: type[NumpyBertError]) -> Iterator[None]:
    """Turn a folder that may not be entered into one `error` that names it."""
    try:
        yield
    except PermissionError as failure:
        raise error(f"{failure.filename}: permission denied.") from None


def check_output(path: Path, *, force: bool) -> None:
    """Raise OutputError unless `path` can be written without loss.

    Parameters
    ----------
    path : Path
        Where a file is to be written. Its folder must exist.
    force : bool
        Whether a file that is already there may be replaced.
    """
    name, found, folder = named(path), look(path), look(path.parent)
    is_link = os.path.islink(path)  # noqa: PTH114 which raises where a name is too long
    target = target_of(path)
    if folder != "folder":
        what = trouble(path.parent) or "is no folder"
        advice = "; make it first" if folder == "absent" else ""
        raise OutputError(f"{name}: the folder {named(path.parent)} {what}{advice}.")
    if found == "folder":
        raise OutputError(f"{name}: is a folder; name a file.")
    if found == "other":
        raise OutputError(f"{name}: is a pipe, socket or device; name a regular file.")
    if found == "unreadable" and not is_link:
        raise OutputError(f"{name}: {trouble(path)}.")
    if not os.access(target.parent, os.W_OK):
        raise OutputError(
            f"{name}: no file can be made in {named(target.parent)}; name another folder."
        )
    if found != "absent" and not force:
        raise OutputError(
            f"{name}: already exists and was left as it is; --force replaces it, in Python "
            "force=True."
        )


def target_of(path: Path) -> Path:
    """Return where a path leads, through all links; raise OutputError if that can be nowhere.

    Examples
    --------
    >>> target_of(Path("a/../b")) == Path.cwd() / "b"
    True
    """
    try:
        path.stat()
    except ValueError:  # a NUL in it, or half of a surrogate pair
        raise OutputError(f"{named(path)}: cannot be a path.") from None
    except OSError as failure:
        if failure.errno == errno.ELOOP:
            raise OutputError(
                f"{named(path)}: is a link that leads back to itself; remove it, or name another "
                "file."
            ) from None
    return path.resolve()


def as_folder(value: object, name: str) -> Path:
    """Return the path that names a folder; raise InputError for anything else.

    An empty one, of which `Path` would make the folder one is in, names none.
    """
    return _as_path(value, name, "the name of a folder")


def as_file(value: object, name: str) -> Path:
    """Return the path that names a file; raise InputError for anything else."""
    return _as_path(value, name, "the name of a file")


def _as_path(value: object, name: str, wanted: str) -> Path:
    """Return a value as a path; raise InputError, which says what is wanted, where it is none."""
    try:
        is_name = isinstance(value, (str, os.PathLike)) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        is_name = False
    if not is_name or not str(value):
        raise InputError(must_be(name, wanted, value))
    return Path(value)  # type: ignore[arg-type]


def make_folder(path: Path) -> Path:
    """Make a folder, and those that it is in, if it is not there; return it.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise OutputError(f"{named(path)}: cannot be made ({failure.strerror}).") from None
    return path


def check_space(path: Path, size: int, advice: str) -> None:
    """Raise OutputError if the disk plainly has no room for a file or folder.

    Parameters
    ----------
    path : Path
        What is to be written, in a folder that exists.
    size : int
        How many bytes it takes.
    advice : str
        What to do, for the message.
    """
    free = free_space(path)
    if free is not None and size > free:
        raise OutputError(
            f"{named(path)}: takes {size:,} bytes, but the disk has {free:,} bytes free; nothing "
            f"was written. {advice}"
        )


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never half.

    Raises
    ------
    OutputError
        If the folder cannot be written to, or the disk is full; nothing has changed then.
    """
    with writing(path, size=len(data)) as file:
        file.write(data)


@contextmanager
def writing(
    path: Path, check: Callable[[Path], object] | None = None, *, size: int | None = None
) -> Iterator[BinaryIO]:
    """Yield a new file that takes the name `path` in one step, once the block has ended well.

    The bytes go to a temporary file in the same folder and are flushed to the disk first. On
    failure the old file stays and the temporary one is removed; if the process is killed, by the
    next one that writes into the folder.

    Parameters
    ----------
    path : Path
        Where to write. A link stays one; what it points to is written.
    check : callable, optional
        Gets the path of the temporary file when all of it is on the disk. If it raises, the file
        never takes its name.
    size : int, optional
        How many bytes are to be written, if that is known: what is said where the disk is full.

    Raises
    ------
    OutputError
        If the folder cannot be written to, or the disk is full; nothing has changed then.
    """
    target = target_of(path)
    try:
        with temporary_file(target) as (temporary, file):
            yield file
            file.flush()
            os.fsync(file.fileno())
            if check is not None:
                check(temporary)
            if os.name == "nt":  # where an open file keeps its name
                file.close()
            temporary.replace(target)
        flush_folder(target.parent)
    except NumpyBertError:  # some are an OSError too
        raise
    except OSError as failure:
        raise _not_written(path, failure, size) from None


@contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder that takes the name `path` in one step, once the block has ended well.

    Parameters
    ----------
    path : Path
        A folder that is empty or not there, in one that is.

    Raises
    ------
    InputError
        If it is the folder that one is in, which would be another one then.
    OutputError
        If it cannot be written; nothing has changed then.
    """
    target = target_of(path)
    with contextlib.suppress(OSError):  # it is not there, or what is wrong is said below
        if target.samefile(Path.cwd()):
            raise InputError(f"{named(path)}: is the folder that you are in; name a new one in it.")
    try:
        with temporary_folder(target) as temporary:
            yield temporary
            if os.name == "nt":  # where no name is taken from a folder
                with contextlib.suppress(FileNotFoundError):
                    target.rmdir()
            temporary.replace(target)
        flush_folder(target.parent)
    except OutputError as failure:  # of a file in it
        raise OutputError(str(failure).replace(str(temporary), str(path))) from None
    except NumpyBertError:
        raise
    except OSError as failure:
        raise _not_written(path, failure, None) from None


def take_name(made: Path, path: Path) -> None:
    """Give what has been made, and flushed, on the same disk another name in one step.

    Raises
    ------
    OutputError
        If it cannot be given; nothing has changed then.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = Path(folder) / "made"
    ...     write_atomically(made, b"all of it")
    ...     take_name(made, Path(folder) / "result")
    ...     [path.name for path in Path(folder).iterdir()]
    ['result']
    """
    target = target_of(path)
    try:
        made.replace(target)
    except OSError as failure:
        raise _not_written(path, failure, None) from None
    flush_folder(target.parent)


def _not_written(path: Path, failure: OSError, size: int | None) -> OutputError:
    """Return the error of a file that could not be written, with the sizes where they are why."""
    said = f"{named(path)}: could not be written ({failure.strerror or failure}); nothing changed."
    room = _room(path, failure)
    if room and size is not None:
        said += f" It takes {size:,} bytes; {room}."
    elif room:
        said += f" Now {room}."
    return OutputError(said)


def _room(path: Path, failure: OSError) -> str:
    """Say how much can be written, where that is what is wrong; otherwise nothing."""
    if failure.errno == errno.EFBIG:
        return f"a file may have {_largest_file()} here"
    free = free_space(path) if failure.errno in _FULL else None
    return "" if free is None else f"the disk has {free:,} bytes free"


def free_space(path: Path) -> int | None:
    """Return how many bytes are free where a file is to be written, None where nobody knows."""
    import shutil

    try:
        return shutil.disk_usage(path.resolve().parent).free
    except (OSError, RuntimeError):
        return None  # what is wrong there is said when it is written to


def _largest_file() -> str:
    """Say how many bytes this process may write to a file."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    except ImportError:
        return "fewer"
    return "fewer" if limit < 0 else f"at most {limit:,} bytes (ulimit -f)"


def flush_folder(folder: Path) -> None:
    """Put a new name onto the disk too; where that cannot be asked for, the name still stands."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
