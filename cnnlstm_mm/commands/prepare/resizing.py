"""Write videos in another size with ffmpeg."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.progress import track

from cnnlstm_mm.storage import OutputFolder, atomic_path
from cnnlstm_mm.storage.atomic import raise_if_full


def resize(source: Path, target: Path, short_side: int) -> str | None:
    """Write a copy of a video with another short side and the times of the original.

    Args:
        source (Path): The video.
        target (Path): The copy, written atomically.
        short_side (int): In pixels; a smaller video keeps its size.

    Returns:
        str, optional: The error message of ffmpeg, or None.

    Raises:
        OSError: If the copy cannot be written, as on a full disk.
    """
    if target.is_file():
        return None
    scale = (
        f"scale=w='if(gt(iw,ih),-2,min({short_side},iw))':h='if(gt(iw,ih),min({short_side},ih),-2)'"
    )
    command = [ffmpeg(), '-nostdin', '-loglevel', 'error', '-y', '-threads', '1', '-i', str(source)]
    command += ['-vf', scale, '-c:a', 'copy', '-f', 'mp4']
    try:
        with atomic_path(target) as part:
            done = subprocess.run([*command, str(part)], capture_output=True, text=True)
            if done.returncode:
                raise_if_full(RuntimeError(done.stderr), target.parent, target)
                raise RuntimeError(done.stderr.strip()[-300:] or 'ffmpeg failed')
            # The time stands in the index, which is the same after any interruption.
            times = source.stat()
            os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
    except RuntimeError as error:
        return str(error)
    return None


def ffmpeg() -> str:
    """Path of the installed ffmpeg, or of imageio-ffmpeg's.

    Raises:
        RuntimeError: If neither is installed; names packages to install.
    """
    found = shutil.which('ffmpeg')
    if found:
        return found
    try:
        import imageio_ffmpeg
    except ImportError:
        raise RuntimeError(
            'expected ffmpeg for --short-side, got none; fix: apt-get install ffmpeg, or '
            'pip install imageio-ffmpeg'
        ) from None
    return imageio_ffmpeg.get_ffmpeg_exe()


def resize_all(
    names: list[str],
    source: Path,
    output: OutputFolder,
    folder: Path,
    short_side: int,
    workers: int,
) -> dict[str, str]:
    """Resize the videos without a copy, with a progress bar.

    Returns:
        dict[str, str]: Error message by name.
    """
    failed = {}

    def one(name: str) -> str | None:
        target = output.check_file(folder / written_name(name))
        return resize(source / name, target, short_side)

    with ThreadPoolExecutor(workers) as pool:
        for name, reason in zip(names, track(pool.map(one, names), 'Resizing', total=len(names))):
            if reason is not None:
                failed[name] = reason
    return failed


def written_name(name: str) -> str:
    """The path of a resized copy: an .mp4, without spaces."""
    return class_folder(Path(name).with_suffix('.mp4').as_posix())


def class_folder(label: str) -> str:
    """Folder name of a class in MMAction2's style: without spaces, quotes and brackets."""
    return re.sub(r"[()']", '', label).replace(' ', '_')
