"""Run a frozen backbone once over the clips of a config."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cnnlstm_mm.datasets.path_decord_init import apply_path_readers
from cnnlstm_mm.run_identity import code_version
from cnnlstm_mm.storage import OutputFolder, atomic_path
from cnnlstm_mm.weights import check_device, check_no_nan, state_hash
from mmaction.registry import DATASETS, MODELS

from .config import (
    check_manifest,
    chosen_splits,
    comparable,
    fingerprint,
    load_backbone,
    video_dataset,
)
from .packed_sample import pack, pack_sample
from .plan import PLAN, finish_shards, missing_shards, share_shards
from .seeded_views import SeededViews, one_thread, shard_batches
from .store import BACKBONE, FORMAT, MANIFEST, write_manifest, write_shard

DTYPES = dict(float16=torch.float16, bfloat16=torch.bfloat16, float32=torch.float32)
# Keys of a config that say how and where it was run.
HOW_IT_RAN = ('launcher', 'model_wrapper_cfg', 'work_dir', 'features')


class FeatureExtractor:
    """Extracts the features of a config into a store.

    Args:
        cfg: A config of videos with a ``Recognizer3D``.
        out: The folder of the store.
        splits: Of 'train', 'val' and 'test'.
        train_views: Augmented views of each training clip.
        dtype: What is stored, see ``DTYPES``.
        pool: 'avg' stores the mean over each frame, 'none' the maps, 'auto' what the neck of the
            config needs.
        batch_size: Views that run together.
        num_workers: Processes that decode.
        shard_clips: Clips of a file.
        seed: Of the augmentation.
        checkpoint: A recognizer's checkpoint whose backbone is used instead of the weights that
            the config names.
        device: None for CUDA where it is available.

    Raises:
        ValueError: If ``out`` holds the features of something else, or the config blends the
            frames of several clips.
    """

    def __init__(
        self,
        cfg: Config,
        out: str | Path,
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
        self.output = OutputFolder(out)
        self.dtype = DTYPES[dtype]
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.shard_clips = shard_clips
        device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
        check_device(device)
        self.device = torch.device(device)

        blending = cfg.model.data_preprocessor.get('blending')
        if blending:
            raise ValueError(
                'model.data_preprocessor.blending: expected None, for features are those of '
                f'single clips, got {blending.get("type")}, which mixes clips and labels; fix: '
                '--cfg-options model.data_preprocessor.blending=None'
            )
        torch.manual_seed(seed)  # of a backbone without pretrained weights
        parts = {key: cfg.model[key] for key in ('backbone', 'data_preprocessor')}
        model = MODELS.build(dict(type='Recognizer3D', **parts))
        model.init_weights()
        if checkpoint is not None:
            load_backbone(model, checkpoint)
        check_no_nan(model, checkpoint or 'weights of model.backbone')
        self.model: nn.Module = model.to(self.device)
        self.model.train(False)

        made_of = fingerprint(cfg)
        kept = {key: value for key, value in cfg._cfg_dict.items() if key not in HOW_IT_RAN}
        text = Config(kept).pretty_text
        apply_path_readers(cfg)
        if pool != 'auto':
            made_of['pool'] = pool
        self.pool, self.in_index = made_of['pool'], made_of['in_index']
        made_of['splits'] = chosen_splits(made_of, splits)
        self.datasets: dict[str, SeededViews] = {}
        self.manifest = dict(
            format=FORMAT,
            made_of=made_of,
            splits=self._open(cfg, splits, train_views, seed),
            dtype=dtype,
            seed=seed,
            train_views=train_views,
            batch_size=batch_size,
            shard_clips=shard_clips,
            config=text,
            weights_sha256=state_hash(self.model.backbone.state_dict()),
            made_by=code_version(),
        )
        if checkpoint is not None:
            self.manifest['checkpoint'] = Path(checkpoint).name

    def _open(self, cfg: Config, splits: list[str], train_views: int, seed: int) -> dict[str, dict]:
        """Open the data sets; folder and number of clips of each split."""
        entries: dict[str, dict] = {}
        folders: dict[str, str] = {}
        for split in splits:
            dataset = video_dataset(cfg, split)
            same = repr(comparable(dataset))
            if same in folders:  # as where the test list is the val list
                entries[split] = entries[folders[same]]
                continue
            folders[same] = split
            built = DATASETS.build(dataset)
            if not hasattr(built, 'read'):
                raise ValueError(
                    f'expected {split}_dataloader.dataset to be a CheckedVideoDataset or '
                    f'CheckedRawframeDataset, got a {type(built).__name__}; fix: set its type'
                )
            entries[split] = dict(folder=split, clips=len(built))
            self.datasets[split] = SeededViews(built, train_views if split == 'train' else 1, seed)
        return entries

    def prepare(self) -> None:
        """Write the manifest and the weights, or check the existing manifest.

        Raises:
            ValueError: If the store was begun with other settings.
        """
        if get_rank() == 0:
            self.output.remove_parts()
            for name in (MANIFEST, BACKBONE, PLAN, *self.datasets):
                self.output.check_file(self.out / name)
        if (self.out / MANIFEST).is_file():
            check_manifest(self.manifest, self.out)
        elif get_rank() == 0:
            state = {
                key: value.cpu().contiguous()
                for key, value in self.model.backbone.state_dict().items()
            }
            with atomic_path(self.out / BACKBONE) as path:
                save_file(state, str(path))
            write_manifest(self.out, self.manifest)

    def run(self, advance: Callable[[int], None]) -> dict[str, str]:
        """Extract the missing shards, each process those that the plan gives it.

        Args:
            advance: Called with the number of views that are done.

        Returns:
            File and reason of each clip that could not be read, in the shards that this process
            wrote.

        Raises:
            RuntimeError: If shards of the plan are missing at the end.
        """
        self.prepare()
        broken: dict[str, str] = {}
        for split, todo in share_shards(self.out, self.todo)[get_rank()].items():
            views = self.datasets[split]
            for shard, rows in self._shards(views, todo, advance):
                features, clips = self._shard(views, shard, rows)
                write_shard(self.out / split, shard, features, clips)
                broken.update((c['filename'], c['broken']) for c in clips if 'broken' in c)
        finish_shards(self.out, self.todo)
        return broken

    def todo(self) -> dict[str, list[int]]:
        """Numbers of the missing shards of each split."""
        return {
            split: missing_shards(self.out / split, len(views.dataset), self.shard_clips)
            for split, views in self.datasets.items()
        }

    def num_views(self) -> tuple[int, int]:
        """Number of views in all, and of those that are done."""
        total = sum(map(len, self.datasets.values()))
        left = sum(
            sum(map(len, self._batches(self.datasets[split], shards)))
            for split, shards in self.todo().items()
        )
        return total, total - left

    def _batches(self, views: SeededViews, shards: list[int]) -> list[list[int]]:
        clips = len(views.dataset)
        return shard_batches(clips, views.views, shards, self.shard_clips, self.batch_size)

    def _shards(
        self, views: SeededViews, todo: list[int], advance: Callable[[int], None]
    ) -> Iterator[tuple[int, dict[int, list]]]:
        """Number of each shard, and by clip the features and data samples of its views."""
        batches = self._batches(views, todo)
        loader = DataLoader(
            views,
            batch_sampler=batches,
            collate_fn=list,
            num_workers=self.num_workers,
            worker_init_fn=one_thread,
            prefetch_factor=4 if self.num_workers else None,
        )
        rows: dict[int, list] = {}
        for items, batch in zip(batches, loader):
            clips = [item // views.views for item in items]
            if rows and clips[0] // self.shard_clips != next(iter(rows)) // self.shard_clips:
                yield next(iter(rows)) // self.shard_clips, rows
                rows = {}
            for clip, feature, item in zip(clips, self.features(batch), batch):
                rows.setdefault(clip, []).append((feature, item.get('data_samples')))
            advance(len(items))
        if rows:
            yield next(iter(rows)) // self.shard_clips, rows

    def _shard(
        self, views: SeededViews, shard: int, rows: dict[int, list]
    ) -> tuple[dict[int, Tensor], list[dict]]:
        """Features by clip, and the clips' entries in the shard's header."""
        clips, features = [], {}
        for index, parts in rows.items():
            info = views.dataset.get_data_info(index)
            clip = dict(index=index, filename=info['filename'], label=pack(info['label']))
            if 'captions' in info:
                clip['captions'] = info['captions']
            broken = [feature for feature, _ in parts if isinstance(feature, str)]
            if broken:
                clip['broken'] = broken[-1]
            else:
                features[index] = torch.cat([feature for feature, _ in parts])
                clip['views'] = [pack_sample(sample) for _, sample in parts]
            clips.append(clip)
        return features, clips

    @torch.no_grad()
    def features(self, batch: list[dict]) -> list[Any]:
        """Run the backbone on a batch.

        Args:
            batch: Items of :class:`SeededViews`.

        Returns:
            For each item a tensor [V, C, T, h, w] of the stored type, or the reason why it could
            not be read.

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
                files = sorted({s.metainfo.get('filename', 'a video') for s in samples})
                raise ValueError(
                    f'expected features within {self.dtype}, got {feature.abs().max():.3g} for '
                    f'{", ".join(files)}; fix: extract with --dtype float32, or check the weights '
                    'if that is NaN'
                )
            parts.append(stored)
        done: Iterator[Tensor] = iter(())
        if good:
            # [N*V, C, T, h, w] -> N of [V, C, T, h, w]
            done = iter(torch.cat(parts).split([len(item['inputs']) for item in good]))
        return [item['broken'] if 'broken' in item else next(done) for item in batch]
