"""Where things lie, and how they are written, held and removed: whole, and what is ours alone."""

import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import IO, Any

from mplib.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
"""The checkout: notebooks, profiles and the book's sources."""


BIG = 64 * 2**20
"""Bytes from which on a file is told by its size, its time and its ends."""


MOST = 10_000
"""Files of a folder that is told by its content, at most."""


UNLISTED = (
    "*.csv", "*.json", "*.safetensors", "*.jinja", "*.model", "merges.txt", "vocab.txt",
    "figures/*.png", "figures/*.pdf",
)  # fmt: skip
"""What runs and checkpoints hold, for those that were made before they listed it."""


STATE = ("best.safetensors", "history.csv", ".*.[0-9]*", "checkpoint/**/*", "last.safetensors")
"""What the folder of an unfinished training holds; what tells whose it is goes last."""


# One meaning for all that is started from here: kernels and engines have working folders of their
# own.
if os.environ.get("MPLIB_HOME"):
    os.environ["MPLIB_HOME"] = os.path.abspath(os.path.expanduser(os.environ["MPLIB_HOME"]))


def home() -> Path:
    """The folder that holds ``runs/`` and ``checkpoints/``: the checkout, or ``MPLIB_HOME``."""
    return _resolved(os.environ.get("MPLIB_HOME") or str(ROOT))


@cache
def _resolved(path: str) -> Path:
    """Asked for several times a run, thousands of times a plan."""
    return Path(path).resolve()


def resolve(path: str | Path) -> Path:
    """An absolute path; relative ones count from ``home()``, wherever a notebook is started.

    ``~`` stays itself where nobody has that home.
    """
    return home() / os.path.expanduser(path)


def private_folder(name: str) -> Path:
    """A folder for locks or sockets on this machine, which is this user's and nobody else's.

    A socket's path may not be longer than about a hundred bytes: a long ``TMPDIR`` is not used.

    Raises:
        InputError: something else has that name, or no folder can be made there.
    """
    try:
        place = tempfile.gettempdir()
        folder = Path(place if len(os.fsencode(place)) <= 60 else "/tmp") / f"{name}-{os.getuid()}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise InputError(
                f"{folder} is no folder of this user's own: remove it, or set TMPDIR to a folder "
                "where nobody else can write"
            )
        folder.chmod(0o700)
    except OSError as error:
        raise InputError(
            f"no temporary folder can be made ({error}): set TMPDIR to one that can be written"
        ) from error
    return folder


@contextmanager
def temporary_folder(name: str) -> Iterator[Path]:
    """A folder in a private one, held by a lock and gone with the block; see ``sweep``."""
    folder = Path(tempfile.mkdtemp(dir=private_folder(name)))
    try:
        with exclusive(folder / ".lock", wait=False):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(name: str) -> None:
    """Removes the folders of ``temporary_folder`` whose holders are dead."""
    for lock in private_folder(name).glob("*/.lock"):
        with suppress(Held, OSError), exclusive(lock, wait=False):
            shutil.rmtree(lock.parent)


class Held(InputError):
    """Somebody else holds a lock that was not to be waited for."""


@contextmanager
def exclusive(lock: Path, *, wait: bool | str) -> Iterator[int]:
    """Holds a lock that the system itself lets go when its last holder dies, however it dies.

    Args:
        lock: the lock's file, which goes with its holder; never a link, which would be followed.
        wait: whether to wait for another holder, or to refuse; a word waits only for those who
            hold the lock for the same word.

    Yields:
        The lock's file descriptor, to be passed on to processes that should hold it too.

    Raises:
        Held: somebody else holds it.
        InputError: the folder cannot be written, or the lock is a link.
    """
    word = wait if isinstance(wait, str) else ""
    while True:
        with _opened(lock) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder, _, purpose = file.read().partition(" ")
                if not (wait is True or (word and word == purpose)):
                    raise Held(
                        f"process {holder} is at work in {home()} (lock {lock}): wait until it is "
                        "done, or stop it"
                    ) from None
                fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_there(file, lock):
                continue  # its last holder took it away
            file.seek(0)
            file.truncate()
            file.write(f"{os.getpid()} {word}".strip())
            file.flush()
            try:
                yield file.fileno()
            finally:
                if _is_there(file, lock):
                    lock.unlink()
            return


def _opened(lock: Path) -> IO[str]:
    """A lock's file, made where there is none."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(lock, flags, 0o666), "r+")
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{lock} is a link, where a lock should be: remove it") from error
        raise unwritable(lock, error) from error


def _is_there(file: IO[str], lock: Path) -> bool:
    """Whether an open lock is the one that others would open."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), lock.stat())
    return False


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        InputError: the disk is full or the folder cannot be written; what was there stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as temporary:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise unwritable(path, error) from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write a file under, which takes its place at the end of the block, or is gone."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def replace(written: Path, path: Path) -> None:
    """Puts a finished file in another's place, on the disk too: a power cut leaves one or other."""
    _sync(written)
    written.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Has the system write a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # which some file systems cannot
            raise
    finally:
        os.close(descriptor)


def listing(folder: Path, hidden: bool = False) -> dict[str, int]:
    """The files of a folder with their sizes, for the file that seals it: see ``sealed``."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (hidden or not path.name.startswith("."))
    }


def sealed(folder: Path, seal: str) -> dict[str, Any] | None:
    """What the last file written into a folder says, once the folder is sure to be whole.

    Args:
        folder: of a run, a checkpoint, an unpacked model.
        seal: the name of that file, JSON whose ``files`` is the folder's ``listing``.

    Returns:
        None where there is no such file, or it or one that it lists was cut short.
    """
    try:
        found = json.loads((folder / seal).read_bytes())
        listed = found.get("files", {}).items()
        whole = all((folder / name).stat().st_size >= size for name, size in listed)
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return found if whole else None


def is_whole(path: Path) -> bool:
    """Whether a notebook's file is there to its last brace, which a power cut would take away."""
    try:
        with path.open("rb") as file:
            file.seek(-3, os.SEEK_END)
            return file.read().rstrip().endswith(b"\n}")
    except OSError:
        return False


def written_in(folder: Path, seal: str) -> list[str]:
    """Patterns of what this tool wrote into a finished folder; the seal is the last of them."""
    try:
        names = list(json.loads((folder / seal).read_bytes())["files"])
        listed = [glob.escape(name) for name in names if ".." not in Path(name).parts]
    except OSError:
        listed = []  # nothing says that this tool was ever here
    except (ValueError, LookupError, TypeError):
        listed = [*UNLISTED]
    return [*listed, "executed.ipynb", seal]


def discard(folder: Path, patterns: Iterable[str]) -> list[str]:
    """Removes the files of a folder that match, then the folders that are empty.

    Returns:
        The names of what is left: somebody else's.
    """
    emptied: set[Path] = set()
    for pattern in patterns:
        # An absolute name would lead elsewhere.
        found = [] if pattern.startswith("/") else [*folder.glob(pattern)]
        for path in found:
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)
                emptied |= {each for each in path.parents if each.is_relative_to(folder)}
    for each in sorted({*emptied, folder}, reverse=True):  # what is in another comes before it
        with suppress(OSError):
            each.rmdir()
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def others(folder: Path, patterns: Iterable[str]) -> list[str]:
    """The files of a folder that fit no pattern."""
    ours = {path for pattern in patterns for path in folder.glob(pattern)}
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(str(path.relative_to(folder)) for path in files if path not in ours)


def put_in_place(fresh: Path, folder: Path, seal: str) -> None:
    """Puts a finished folder where it belongs; what an older one there held of others moves in.

    Raises:
        OSError: the disk does not play along.
    """
    for path in [*fresh.rglob("*"), fresh]:
        _sync(path)
    settle(folder, seal)
    replaced = folder.exists()
    if replaced:
        folder.rename(_replaced(folder))
    fresh.rename(folder)
    _sync(folder.parent)
    if replaced:
        _take_in(folder, seal)


def _replaced(folder: Path) -> Path:
    """Where an older folder lies while a new one takes its place."""
    return folder.with_name(f".{folder.name}.replaced")


def settle(folder: Path, seal: str) -> None:
    """Ends a replacement that was cut off: the new folder is there, or else the old one returns."""
    old = _replaced(folder)
    discard(old, [])  # where it is empty
    if not (old / seal).is_file():
        return  # nothing there, or nothing of ours
    if not folder.exists():
        old.rename(folder)
    else:
        _take_in(folder, seal)


def _take_in(folder: Path, seal: str) -> None:
    """Removes what this tool wrote into the older folder; the rest moves into the new one."""
    old = _replaced(folder)
    *written, last = written_in(old, seal)
    for name in discard(old, written):
        target = folder / name
        while target.exists():
            target = target.with_name(f"{target.name}.kept")
        if name != last:
            (old / name).rename(target)
    discard(old, [last])


def fingerprint(path: Path) -> str:
    """Tells whether a file, or any file of a folder, is still the same.

    A file from ``BIG`` on is told by its size, its time, and a mebibyte at its start and its end.

    Raises:
        InputError: a file cannot be read, or the folder holds more than any model or data.
    """
    inside = [*islice(path.rglob("*"), MOST + 1)] if path.is_dir() else [path]
    if len(inside) > MOST:
        raise InputError(f"{path} holds more than {MOST} files: name the folder of the data itself")
    digest = hashlib.sha256()
    try:
        for each in sorted(each for each in inside if each.is_file()):
            found = each.stat()
            content = _digest(each, found.st_size, found.st_mtime_ns)
            digest.update(os.fsencode(each.relative_to(path)) + content)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read ({error.strerror})") from error
    return digest.hexdigest()[:16]


@cache
def _digest(path: Path, size: int, time: int) -> bytes:
    """Hash of a file's content; size and time are those it has now."""
    with path.open("rb") as file:
        if size < BIG:
            return hashlib.file_digest(file, "sha256").digest()
        digest = hashlib.sha256(f"{size} {time}".encode() + file.read(2**20))
        file.seek(-(2**20), os.SEEK_END)
        digest.update(file.read())
    return digest.digest()


def unwritable(path: Path, error: OSError) -> InputError:
    """The one error for a place that takes no files."""
    return InputError(
        f"cannot write {path} ({error.strerror}): make room or make it writable, or set MPLIB_HOME "
        "to a folder that is; results written before are untouched"
    )
