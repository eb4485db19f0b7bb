"""Archives of strangers: unpacked inside of one folder, up to a size, or refused by name."""

import argparse
import os
import re
import shutil
import stat
import subprocess
import tarfile
import time
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from rich.progress import track

from cnnlstm_mm.storage import write_text
from cnnlstm_mm.storage.atomic import raise_if_full

GIGABYTE = 10**9
# Videos do not shrink in archives: what unpacks to far more than that is a bomb.
GROWTH, ALLOWANCE = 20, GIGABYTE
PASSWORD = re.compile('password|passphrase|encrypted', re.IGNORECASE)
LATER_VOLUME = re.compile(
    r'\.part0*([2-9]|\d{2,})\.rar$|\.[rz]\d\d$|\.0*([2-9]|\d\d+)$', re.IGNORECASE
)


def unpack(source: Path, out: Path, max_size: float | None = None) -> Path:
    """Unpack an archive once; a folder is returned unchanged.

    Args:
        source: A folder, .zip, .tar*, .tgz, .rar or .7z; the first of several volumes.
        out: Target folder; its file ``.unpacked`` marks a complete extraction.
        max_size: Gigabytes that it may unpack to; None for 20 times its size and 1 more.

    Returns:
        The folder with the contents.

    Raises:
        FileNotFoundError: If ``source`` does not exist.
        RuntimeError: If the archive is damaged, or no program that unpacks it is installed.
        ValueError: If a member would be written outside of ``out``, is a link that leads out of
            it or a device, or if the archive is encrypted or unpacks to more than ``max_size``.
    """
    source = Path(source)
    if source.is_dir():
        return source
    if not source.is_file():
        raise FileNotFoundError(
            f'expected an archive or a folder, got {source}: no such file; fix: name the '
            'downloaded archive, or the folder that it was unpacked to'
        )
    stamp = out / '.unpacked'
    size = source.stat().st_size
    if stamp.is_file() and stamp.read_bytes() == f'{source.name} {size}'.encode():
        return out
    if LATER_VOLUME.search(source.name):
        raise ValueError(
            f'expected the first volume of an archive, got {source}; fix: name the first one '
            '(.part1.rar, .rar, .001), with the others beside it'
        )
    limit = GROWTH * size + ALLOWANCE if max_size is None else int(max_size * GIGABYTE)
    out.mkdir(parents=True, exist_ok=True)
    print(f'Unpacking {source} to {out}', flush=True)
    if source.suffix.lower() in ('.rar', '.7z', '.001'):
        _unpack_with_program(source, out, limit)
    elif zipfile.is_zipfile(source):
        _unpack_zip(source, out, limit)
    else:
        _unpack_tar(source, out, limit)
    write_text(stamp, f'{source.name} {size}')
    return out


def add_max_size(parser: argparse.ArgumentParser) -> None:
    """Add --max-size."""
    parser.add_argument(
        '--max-size',
        type=float,
        metavar='GB',
        help='most gigabytes that an archive may unpack to; default 20 times its size and 1 more',
    )


def _unpack_zip(source: Path, out: Path, limit: int) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
            for member in members:
                kind = stat.S_IFMT(member.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise _strange(source, member.filename, 'a link or a device')
                _check_name(source, member.filename)
                if member.flag_bits & 1:
                    raise _encrypted(source)
            written = 0
            for member in track(members, 'Unpacking'):
                target = out.joinpath(*PurePosixPath(member.filename.replace('\\', '/')).parts)
                if member.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                _check_target(source, target, out)
                target.parent.mkdir(parents=True, exist_ok=True)
                # Counted as they come: the sizes in the archive may be wrong.
                with archive.open(member) as data, target.open('wb') as file:
                    while block := data.read(1 << 20):
                        written += len(block)
                        _check_size(source, written, limit)
                        file.write(block)
                _set_time(target, member.date_time)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        OSError,
        UnicodeError,  # of names
    ) as error:
        raise _damaged(source, out, error) from None


def _set_time(path: Path, date: tuple[int, ...]) -> None:
    """Set a file's time as unzip does: unpacked again it is the same file."""
    year, month, day, hour, minute, second = date
    try:
        seconds = time.mktime((year, month, day, hour, minute, second, 0, 0, -1))
        os.utime(path, (seconds, seconds))
    except (OverflowError, ValueError):  # a date that cannot be
        return


def _unpack_tar(source: Path, out: Path, limit: int) -> None:
    try:
        with tarfile.open(source) as archive:
            written = 0
            for member in archive:
                _check_name(source, member.name)
                written += member.size
                _check_size(source, written, limit)
                _check_target(source, out / member.name, out)
                archive.extract(member, out, filter='data')
            # Only at its end does gzip compare its checksum.
            while archive.fileobj is not None and (block := archive.fileobj.read(1 << 20)):
                written += len(block)
                _check_size(source, written, limit)
    except tarfile.FilterError as error:
        raise _strange(source, error.tarinfo.name, str(error)) from None
    except (tarfile.TarError, zlib.error, EOFError, KeyError, OSError, ValueError) as error:
        if type(error) is ValueError and str(source) in str(error):
            raise
        raise _damaged(source, out, error) from None


def unpack_commands(source: Path, out: Path) -> list[list[str]]:
    """Commands of the installed programs that may unpack a .rar or .7z.

    Raises:
        RuntimeError: If none is installed; names packages to install.
    """
    commands = dict(
        unrar=['unrar', 'x', '-o+', '-idq', '-p-', str(source), f'{out}/'],
        bsdtar=['bsdtar', '-xf', str(source), '-C', str(out)],
    )
    for name in ('7z', '7zz', '7za'):
        commands[name] = [name, 'x', '-y', '-bd', f'-o{out}', str(source)]
    if source.suffix.lower() != '.rar':
        del commands['unrar']
    installed = [command for name, command in commands.items() if shutil.which(name)]
    if installed:
        return installed
    raise RuntimeError(
        f'expected one of {", ".join(commands)} to unpack {source}, got none installed; fix: '
        'apt-get install unrar (or 7zip, or libarchive-tools), or conda install -c conda-forge '
        'libarchive, or unpack it yourself and name the folder'
    )


def _unpack_with_program(source: Path, out: Path, limit: int) -> None:
    """Unpack into an empty folder, look at what came out, and move it to ``out``."""
    place = out / '.unpacking'
    errors = []
    # Some builds of these programs cannot read every .rar.
    for command in unpack_commands(source, place):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        try:
            code, text = _run(command, source, place, limit)
            if not code:
                _check_tree(source, place)
                shutil.copytree(
                    place, out, symlinks=True, dirs_exist_ok=True, copy_function=os.replace
                )
                return
        finally:
            shutil.rmtree(place, ignore_errors=True)
        if PASSWORD.search(text):
            raise _encrypted(source)
        errors.append(f'{command[0]}: {text[-300:].strip()}')
    raise _damaged(source, out, RuntimeError('; '.join(errors)))


def _run(command: list[str], source: Path, place: Path, limit: int) -> tuple[int, str]:
    log = place.with_name('.unpacking.log')
    try:
        with log.open('wb') as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
            try:
                pause = 0.01
                while process.poll() is None:
                    _check_size(source, _size(place), limit)
                    time.sleep(pause)
                    pause = min(2 * pause, 1)
                _check_size(source, _size(place), limit)
            finally:
                process.kill()
                process.wait()
        return process.returncode, log.read_bytes().decode(errors='replace')
    finally:
        log.unlink(missing_ok=True)


def _size(place: Path) -> int:
    total = 0
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:  # it was renamed
                continue
    return total


def _check_tree(source: Path, place: Path) -> None:
    root = os.path.realpath(place)
    for folder, folders, names in os.walk(place):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            kind = stat.S_IFMT(os.lstat(path).st_mode)
            inside = os.path.realpath(path).startswith(root + os.sep)
            if not inside or kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                raise _strange(source, os.path.relpath(path, place), 'a device or a link outside')


def _check_name(source: Path, name: str) -> None:
    path = PurePosixPath(name.replace('\\', '/'))
    if path.is_absolute() or '..' in path.parts or re.match('[A-Za-z]:', name) or '\0' in name:
        raise _strange(source, name, 'a path outside of the folder')


def _check_target(source: Path, target: Path, out: Path) -> None:
    """Refuse to write through a link that an earlier member, or someone else, has left."""
    root = os.path.realpath(out)
    if not os.path.realpath(target).startswith(root + os.sep) and target != out:
        raise _strange(source, str(target.relative_to(out)), 'a path through a link')


def _check_size(source: Path, size: int, limit: int) -> None:
    if size > limit:
        raise ValueError(
            f'expected {source} to unpack to at most {limit / GIGABYTE:.3g} GB, got more; fix: if '
            'it is not a decompression bomb, allow more gigabytes with --max-size'
        )


def _strange(source: Path, name: str, what: str) -> ValueError:
    return ValueError(
        f'expected files below one folder in {source}, got {name!r}: {what}; fix: download it '
        'from its official place, or unpack it yourself and name the folder'
    )


def _encrypted(source: Path) -> ValueError:
    return ValueError(
        f'expected an archive without a password, got {source}; fix: unpack it yourself with its '
        'password and name the folder'
    )


def _damaged(source: Path, out: Path, error: Exception) -> RuntimeError:
    raise_if_full(error, out, out)
    return RuntimeError(
        f'expected a sound archive with all of its volumes, got {source}, which cannot be '
        f'unpacked ({error}); fix: download it again'
    )
