"""Run a frozen backbone once over the clips of a config."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import barrier, get_rank, get_world_size
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cnnlstm_mm.compat import read_without_decord
from mmaction.registry import DATASETS, MODELS

from .config import fingerprint, load_backbone, plain
from .seeded_views import SeededViews, shard_batches
from .store import (
    BACKBONE,
    MANIFEST,
    read_manifest,
    shard_path,
    state_hash,
    write_atomically,
    write_manifest,
    write_shard,
)

DTYPES = dict(float16=torch.float16, bfloat16=torch.bfloat16, float32=torch.float32)


class FeatureExtractor:
    """Extracts the features of a config into a store.

    Args:
        cfg (Config): A config of videos with a ``Recognizer3D``.
        out (Path): The folder of the store.
        splits (list[str]): Of 'train', 'val' and 'test'.
        train_views (int): Augmented views of each training clip. Defaults
            to 1.
        dtype (str): What is stored, see ``DTYPES``. Defaults to 'float16'.
        pool (str): 'avg' stores the mean over each frame, 'none' the maps,
            'auto' what the neck of the config needs. Defaults to 'auto'.
        batch_size (int): Views that run together. Defaults to 2.
        num_workers (int): Processes that decode. Defaults to 2.
        shard_clips (int): Clips of a file. Defaults to 32.
        seed (int): Of the augmentation. Defaults to 0.
        checkpoint (str, optional): A recognizer's checkpoint whose backbone
            is used. Defaults to None, the weights that the config names.
        device (str, optional): Defaults to None: CUDA where there is any.

    Raises:
        ValueError: If ``out`` holds the features of something else, or the
            config blends the frames of several clips.
    """

    def __init__(
        self,
        cfg: Config,
        out: Path,
        splits: list[str],
        train_views: int = 1,
        dtype: str = 'float16',
        pool: str = 'auto',
        batch_size: int = 2,
        num_workers: int = 2,
        shard_clips: int = 32,
        seed: int = 0,
        checkpoint: str | None = None,
        device: str | None = None,
    ) -> None:
        self.out = Path(out)
        self.dtype = DTYPES[dtype]
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))

        if cfg.model.data_preprocessor.get('blending'):
            raise ValueError(
                'model.data_preprocessor.blending mixes clips, which features '
                'of single clips cannot hold: set it to None.'
            )
        torch.manual_seed(seed)  # of a backbone without pretrained weights
        model = MODELS.build(
            dict(
                type='Recognizer3D',
                backbone=cfg.model.backbone,
                data_preprocessor=cfg.model.data_preprocessor,
            )
        )
        model.init_weights()
        if checkpoint is not None:
            load_backbone(model, checkpoint)
        self.model: nn.Module = model.to(self.device)
        self.model.train(False)

        made_of, text = fingerprint(cfg), config_text(cfg)
        read_without_decord(cfg)
        if pool != 'auto':
            made_of['pool'] = pool
        self.pool = made_of['pool']
        self.in_index = made_of['in_index']
        self.datasets, entries = {}, {}
        folders: dict[str, Any] = {}
        for split in splits:
            dataset = cfg[f'{split}_dataloader'].dataset
            same = repr(plain(dataset))
            entries[split] = dict(folder=folders.get(same, split))
            if same in folders:  # as where the test list is the val list
                entries[split]['clips'] = entries[folders[same]]['clips']
                continue
            folders[same] = split
            built = DATASETS.build(dataset)
            if not hasattr(built, 'read'):
                raise ValueError(
                    f'{split}_dataloader.dataset is a {type(built).__name__}: '
                    "set its type to 'CheckedVideoDataset'."
                )
            views = train_views if split == 'train' else 1
            entries[split]['clips'] = len(built)
            self.datasets[split] = SeededViews(built, views, seed)
        made_of['splits'] = {split: made_of['splits'][split] for split in splits}
        self.manifest = dict(
            format=1,
            made_of=made_of,
            splits=entries,
            dtype=dtype,
            seed=seed,
            train_views=train_views,
            batch_size=batch_size,
            shard_clips=shard_clips,
            config=text,
            weights_sha256=state_hash(self.model.backbone.state_dict()),
        )
        self.shard_clips = shard_clips

    def prepare(self) -> None:
        """Write the manifest and the weights, or check those that are there.

        Raises:
            ValueError: If the store was begun with other settings.
        """
        if get_rank() == 0:  # of a run that was killed while it wrote
            for path in self.out.rglob('.*.safetensors.*'):
                path.unlink()
        if (self.out / MANIFEST).is_file():
            old = read_manifest(self.out)
            # The text of the config holds paths, which may change.
            different = sorted(
                key
                for key in self.manifest
                if key != 'config' and old.get(key) != self.manifest[key]
            )
            if different:
                raise ValueError(
                    f'{self.out} holds features made with another '
                    f'{", ".join(different)}: name another --out, or remove '
                    'that folder.'
                )
            return
        if get_rank() == 0:
            state = {
                key: value.cpu().contiguous()
                for key, value in self.model.backbone.state_dict().items()
            }
            write_atomically(self.out / BACKBONE, lambda path: save_file(state, str(path)))
            write_manifest(self.out, self.manifest)

    def run(self, advance: Callable[[int], None]) -> dict[str, str]:
        """Extract what is not there yet; each process takes every n-th shard.

        Args:
            advance (callable): Called with the number of views that are done.

        Returns:
            dict: File and reason of each clip that could not be read, in the
            shards that this process wrote.
        """
        self.prepare()
        barrier()
        broken: dict[str, str] = {}
        for split, views in self.datasets.items():
            todo = self.todo(split)[get_rank() :: get_world_size()]
            if todo:
                for shard, features, clips in self._shards(views, todo, advance):
                    write_shard(self.out / split, shard, features, clips)
                    broken.update(
                        (clip['filename'], clip['broken']) for clip in clips if 'broken' in clip
                    )
        barrier()
        return broken

    def todo(self, split: str) -> list[int]:
        """The shards of a split that are not there."""
        count = -(-len(self.datasets[split].dataset) // self.shard_clips)
        return [
            shard for shard in range(count) if not shard_path(self.out / split, shard).is_file()
        ]

    def num_views(self) -> tuple[int, int]:
        """How many views there are in all, and how many are done."""
        total = done = 0
        for split, views in self.datasets.items():
            total += len(views)
            left = shard_batches(
                len(views.dataset), views.views, self.todo(split), self.shard_clips, self.batch_size
            )
            done += len(views) - sum(map(len, left))
        return total, done

    def _shards(
        self, views: SeededViews, todo: list[int], advance: Callable[[int], None]
    ) -> Iterator[tuple]:
        batches = shard_batches(
            len(views.dataset), views.views, todo, self.shard_clips, self.batch_size
        )
        loader = DataLoader(
            views,
            batch_sampler=batches,
            collate_fn=list,
            num_workers=self.num_workers,
            worker_init_fn=one_thread,
            prefetch_factor=4 if self.num_workers else None,
        )
        parts: dict[int, list[Tensor]] = {}
        reasons: dict[int, str] = {}
        shard = None
        for items, batch in zip(batches, loader):
            now = items[0] // views.views // self.shard_clips
            if shard not in (None, now):
                yield self._shard(views, shard, parts, reasons)
                parts, reasons = {}, {}
            shard = now
            for item, feature in zip(items, self.features(batch)):
                clip = item // views.views
                if isinstance(feature, str):
                    reasons[clip] = feature
                else:
                    parts.setdefault(clip, []).append(feature)
            advance(len(items))
        yield self._shard(views, shard, parts, reasons)

    def _shard(
        self,
        views: SeededViews,
        shard: int,
        parts: dict[int, list[Tensor]],
        reasons: dict[int, str],
    ) -> tuple:
        first = shard * self.shard_clips
        last = min(first + self.shard_clips, len(views.dataset))
        clips, features = [], {}
        for index in range(first, last):
            info = views.dataset.get_data_info(index)
            label = info['label']
            clips.append(
                dict(
                    index=index,
                    filename=info['filename'],
                    label=label if isinstance(label, int) else list(label),
                )
            )
            if index in reasons:
                clips[-1]['broken'] = reasons[index]
            else:
                features[index] = torch.cat(parts[index])
        return shard, features, clips

    @torch.no_grad()
    def features(self, batch: list[dict]) -> list[Any]:
        """Run the backbone on a batch.

        Args:
            batch (list[dict]): Items of :class:`SeededViews`.

        Returns:
            list: For each item a tensor [V, C, T, h, w] of the stored type,
            or the reason why it could not be read.

        Raises:
            ValueError: If a feature is too large for the stored type, or NaN.
        """
        good = [item for item in batch if 'broken' not in item]
        views = [(view[None], item['data_samples']) for item in good for view in item['inputs']]
        parts = []
        for start in range(0, len(views), self.batch_size):
            inputs, samples = zip(*views[start : start + self.batch_size])
            data = self.model.data_preprocessor(
                dict(inputs=list(inputs), data_samples=list(samples))
            )
            # [n, 1, 3, T, H, W] -> [n, 3, T, H, W]
            feature = self.model.backbone(data['inputs'].flatten(0, 1))
            if isinstance(feature, tuple):
                feature = feature[self.in_index]
            if self.pool == 'avg':
                feature = feature.mean(dim=(3, 4), keepdim=True)
            stored = feature.to('cpu', self.dtype)
            if not stored.isfinite().all():
                raise ValueError(
                    f'features of {named(samples)} reach '
                    f'{feature.abs().max():.3g}, which {self.dtype} cannot '
                    'hold: extract with --dtype float32, or mend the weights '
                    'if that is no number.'
                )
            parts.append(stored)
        done: Iterator[Tensor] = iter(())
        if good:
            # [N*V, C, T, h, w] -> N of [V, C, T, h, w]
            done = iter(torch.cat(parts).split([len(item['inputs']) for item in good]))
        return [item['broken'] if 'broken' in item else next(done) for item in batch]


def named(samples: Sequence[Any]) -> str:
    """The files of a batch."""
    return ', '.join(sorted({sample.metainfo.get('filename', 'a video') for sample in samples}))


def config_text(cfg: Config) -> str:
    """The config as text, without how and where it was run."""
    kept = {
        key: value
        for key, value in cfg._cfg_dict.items()
        if key not in ('launcher', 'model_wrapper_cfg', 'work_dir', 'features')
    }
    return Config(kept).pretty_text


def one_thread(worker: int) -> None:
    """Let a worker that decodes use one thread; there is one a core."""
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
