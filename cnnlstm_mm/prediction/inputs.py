"""Clips that a prediction is asked for: videos, folders, patterns and lists."""

import glob
import os
import os.path as osp
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmengine.registry import init_default_scope

from cnnlstm_mm.config import FRAMES, class_names_of, type_name
from cnnlstm_mm.datasets.annotation_list import read_lines, read_list
from cnnlstm_mm.datasets.clip_index import find_clips
from cnnlstm_mm.streaming.captures import mask_password
from cnnlstm_mm.video_files import VIDEO_SUFFIXES, find_videos
from mmaction.registry import DATASETS

from .recording import is_address

LISTS = ('.txt', '.csv', '.tsv')


def find_inputs(inputs: Iterable[str], dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """Find the clips, in the order of the inputs, each file once.

    Args:
        inputs: Video files, folders (searched with all below them), patterns (``**`` for any
            folders), lists, whose labels are not looked at, and addresses of cameras.
        dataset: Innermost test data set of a config; one of frame folders reads folders of frames
            where others read videos.

    Returns:
        What a data set gives to its pipeline; ``filename`` is the file, or the folder of frames,
        or the address without its password, which is ``address``.

    Raises:
        FileNotFoundError: For an input in which nothing is found.
        ValueError: For a list that cannot be read, or a video where the config reads frames.
    """
    clips: dict[str, dict[str, Any]] = {}
    for name in inputs:
        found = _clips_of(name, dataset)
        if not found:
            raise FileNotFoundError(
                f'expected {_wanted(dataset)}, got none in {name}; fix: name a file, a folder, a '
                f'quoted pattern such as "clips/**/*.mp4", or a list ({", ".join(LISTS)})'
            )
        for clip in found:
            clips.setdefault(clip['filename'], clip)
    return list(clips.values())


def reads_frames(dataset: dict[str, Any]) -> bool:
    """Whether a data set reads folders of frames."""
    return type_name(dataset) in FRAMES


def _wanted(dataset: dict[str, Any]) -> str:
    if reads_frames(dataset):
        return f'folders of frames named {_template(dataset)}, as the config reads them'
    return f'videos ({", ".join(VIDEO_SUFFIXES)})'


def _clips_of(name: str, dataset: dict[str, Any]) -> list[dict[str, Any]]:
    if is_address(name) and not osp.exists(name):
        return [_clip(mask_password(name), dataset, address=name)]
    if osp.isdir(name):
        return _in_folder(name, dataset)
    if not osp.isfile(name):
        matches = sorted(glob.glob(name, recursive=True))
        chosen = [m for m in matches if osp.isdir(m) or m.lower().endswith(VIDEO_SUFFIXES)]
        return [clip for match in chosen for clip in _clips_of(match, dataset)]
    if name.lower().endswith(LISTS):
        return _frame_list(name, dataset) if reads_frames(dataset) else _video_list(name, dataset)
    if reads_frames(dataset):
        raise ValueError(f'expected {_wanted(dataset)}, got the file {name}; fix: name a folder')
    return [_clip(name, dataset)]


def _clip(name: str, dataset: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return dict(
        filename=name,
        label=-1,
        start_index=dataset.get('start_index', int(reads_frames(dataset))),
        modality=dataset.get('modality', 'RGB'),
        **facts,
    )


def _in_folder(root: str, dataset: dict[str, Any]) -> list[dict[str, Any]]:
    if not reads_frames(dataset):
        return [_clip(osp.join(root, name), dataset) for name in find_videos(Path(root))]
    template, clips = _template(dataset), []
    if dataset.get('modality', 'RGB') != 'RGB':  # two pictures a step: lists alone
        return []
    for folder, folders, names in os.walk(root):
        folders.sort()
        clip, present, total = _clip(folder, dataset), set(names), 0
        while template.format(clip['start_index'] + total) in present:
            total += 1
        if total:
            clips.append(dict(clip, frame_dir=folder, total_frames=total, filename_tmpl=template))
    return clips


def _template(dataset: dict[str, Any]) -> str:
    return dataset.get('filename_tmpl', 'img_{:05}.jpg')


def _frame_list(ann_file: str, dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """Folders of a list, as the config's data set reads them."""
    init_default_scope('mmaction')
    changes = dict(type='CheckedRawframeDataset', ann_file=osp.abspath(ann_file), pipeline=[])
    built = DATASETS.build({**dataset, **changes, 'test_mode': True, 'lazy_init': False})
    return [dict(built.get_data_info(k), label=-1) for k in range(len(built))]


def _video_list(ann_file: str, dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """Videos of a list: found from the config's data_prefix, the list's folder, or this one."""
    prefix = (dataset.get('data_prefix') or {}).get('video') or ''
    roots = [osp.join(dataset.get('data_root') or '', prefix), osp.dirname(ann_file), '']
    several = dataset.get('multi_class', False)
    indexed = None if several else find_clips(ann_file, roots[0])
    if indexed is not None:  # with the number of frames that a test goes by
        clips = [
            _clip(info['filename'], dataset, indexed_frames=info['indexed_frames'])
            for info in indexed
        ]
    else:
        clips = [_clip(name, dataset) for name in _listed_paths(ann_file, roots, dataset)]
    if not any(osp.isfile(clip['filename']) for clip in clips):
        raise FileNotFoundError(
            f'{ann_file}: expected videos, got none of its {len(clips)} files, such as '
            f'{clips[0]["filename"]}; fix: set --cfg-options test_dataloader.dataset.data_prefix.'
            'video to the folder that the paths start from'
        )
    return clips


def _listed_paths(ann_file: str, roots: Sequence[str], dataset: dict[str, Any]) -> list[str]:
    def located(path: str) -> str:
        places = [osp.join(root, path) for root in roots]
        return next(filter(osp.isfile, places), '')

    whole = [located(line) for _, line in read_lines(ann_file)]
    if whole and all(whole):  # paths alone, which may hold blanks
        return whole
    rows = read_list(
        ann_file,
        dataset.get('delimiter', ' '),
        dataset.get('multi_class', False),
        class_names_of(dataset),
    )
    return [located(path) or osp.join(roots[0], path) for _, path, _ in rows]
