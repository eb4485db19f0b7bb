"""Runs of MMAction2's Runner to compare.

A run is built from its model and the data, and has ``go()``,
``frozen_backbone()``, ``profile()`` and ``peak()``. All take the same videos,
frame size, number of frames, batch and workers.
"""

import gc
import os
import resource
import tempfile
import time
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

NORMALIZE = dict(mean=[127.5] * 3, std=[127.5] * 3)
PARTS = ('decode', 'transforms', 'preprocess', 'backbone', 'neck', 'head', 'optimizer')


class Data(NamedTuple):
    """Data and loading options of all runs."""

    ann_file: str
    videos: str
    frames: int
    side: int
    batch: int
    workers: int
    threads: int
    weights: str | None = None
    classes: int = 101

    def mobilenet(self) -> dict:
        """Backbone of all runs.

        Without trained weights the activations of a frozen one shrink from layer to layer, and
        CPUs are slow on tiny numbers.
        """
        init_cfg = None
        if self.weights:
            init_cfg = dict(type='Pretrained', checkpoint=self.weights)
        return dict(type='MobileNetV2', init_cfg=init_cfg)


def tsn(data: Data) -> dict:
    """MMAction2's TSN-MobileNetV2, unchanged."""
    return dict(
        type='Recognizer2D',
        backbone=data.mobilenet(),
        cls_head=dict(
            type='TSNHead',
            num_classes=data.classes,
            in_channels=1280,
            spatial_type='avg',
            consensus=dict(type='AvgConsensus', dim=1),
            dropout_ratio=0.4,
            init_std=0.01,
            average_clips='prob',
        ),
        data_preprocessor=dict(type='ActionDataPreprocessor', format_shape='NCHW', **NORMALIZE),
    )


def recurrent(data: Data, neck: dict, **time_distributed) -> dict:
    """MobileNetV2 on every frame and one of our necks."""
    return dict(
        type='Recognizer3D',
        backbone=dict(type='TimeDistributed', backbone=data.mobilenet(), **time_distributed),
        neck=dict(in_channels=1280, hidden_channels=256, **neck),
        cls_head=dict(
            type='I3DHead', num_classes=data.classes, in_channels=256, average_clips='prob'
        ),
        data_preprocessor=dict(type='ActionDataPreprocessor', format_shape='NCTHW', **NORMALIZE),
    )


NECKS = {
    'LSTM': dict(type='LSTMPoolingNeck'),
    'light ConvLSTM': dict(type='ConvLSTMNeck', reduce_channels=256, gate_conv='depthwise'),
    'ConvLSTM': dict(type='ConvLSTMNeck'),
}


def config(model: dict, data: Data, work_dir: str, name: str):
    """Full config of a run that repeats the videos without end."""
    from mmengine.config import Config

    flat = model['type'] == 'Recognizer2D'
    shape = 'NCHW' if flat else 'NCTHW'

    def pipeline(test):
        sample = (
            dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=data.frames)
            if flat
            else dict(type='UniformSample', clip_len=data.frames)
        )
        crop = (
            [dict(type='CenterCrop', crop_size=data.side)]
            if test
            else [
                dict(type='RandomResizedCrop'),
                dict(type='Resize', scale=(data.side, data.side), keep_ratio=False),
                dict(type='Flip', flip_ratio=0.5),
            ]
        )
        return [
            dict(type='DecordInit'),
            dict(sample, test_mode=test),
            dict(type='DecordDecode'),
            dict(type='Resize', scale=(-1, data.side * 8 // 7)),
            *crop,
            dict(type='FormatShape', input_format=shape),
            dict(type='PackActionInputs'),
        ]

    def loader(test):
        return dict(
            batch_size=data.batch,
            num_workers=data.workers,
            sampler=dict(type='InfiniteSampler', shuffle=not test),
            dataset=dict(
                type='VideoDataset',
                ann_file=data.ann_file,
                data_prefix=dict(video=data.videos),
                pipeline=pipeline(test),
                test_mode=test,
            ),
        )

    return Config(
        dict(
            default_scope='mmaction',
            model=model,
            work_dir=work_dir,
            experiment_name=name,
            log_level='ERROR',
            train_dataloader=loader(False),
            test_dataloader=loader(True),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=10**9, val_interval=10**9),
            test_cfg=dict(type='TestLoop'),
            test_evaluator=dict(type='AccMetric'),
            optim_wrapper=dict(
                type='OptimWrapper',
                clip_grad=dict(max_norm=20),
                optimizer=dict(type='SGD', lr=1e-3, momentum=0.9),
            ),
            default_hooks=dict(checkpoint=None, logger=None),
        )
    )


class _End(Exception):
    """Ends a run that has been measured."""


class Run:
    """One model on the data, in this process."""

    def __init__(self, model: dict, data: Data, keep: bool) -> None:
        import torch

        import cnnlstm_mm  # noqa: F401

        torch.set_num_threads(data.threads)
        torch.manual_seed(0)
        self.model, self.data, self.keep = model, data, keep
        self.folder = tempfile.TemporaryDirectory()
        self.count = 0

    def runner(self):
        from mmengine.runner import Runner

        from cnnlstm_mm.engine import MemoryHook

        self.count += 1
        runner = Runner.from_cfg(
            config(self.model, self.data, self.folder.name, f'{os.getpid()}_{self.count}')
        )
        runner.model.init_weights()
        if self.keep:  # as tools/train.py and tools/test.py do
            runner.register_hook(MemoryHook())
        return runner

    def go(self, mode: str, count: str) -> None:
        """Train or test until told to stop.

        Args:
            mode: 'train' or 'test'.
            count: File with two int64: the number of finished iterations, and
                a flag that ends the run when it is not 0.
        """
        from mmengine.hooks import Hook

        numbers = np.memmap(count, np.int64)

        class Counter(Hook):
            def _after_iter(self, *args, **kwargs):
                _synchronize()
                numbers[0] += 1
                if numbers[1]:
                    raise _End

        runner = self.runner()
        runner.register_hook(Counter())
        try:
            runner.train() if mode == 'train' else runner.test()
        except _End:
            pass
        if mode == 'train':
            # Ends the workers now, not at the next garbage collection.
            runner.train_loop.dataloader_iterator = None

    def frozen_backbone(self, frames: int) -> float:
        """Milliseconds per frame of the backbone alone, in evaluation mode, on frames in memory."""
        import torch

        model = self.runner().model
        model.eval()
        x = torch.randn(frames, 3, self.data.side, self.data.side)
        if self.model['type'] == 'Recognizer3D':
            x = x.transpose(0, 1)[None].contiguous()  # [1, 3, T, H, W]
        x = x.to(next(model.parameters()).device)
        with torch.no_grad():
            for _ in range(2):
                model.backbone(x)
            _synchronize()
            start = time.perf_counter()
            model.backbone(x)
            _synchronize()
        return (time.perf_counter() - start) / frames * 1e3

    def profile(self, repeats: int = 3) -> dict:
        """Milliseconds per frame of every part of a training step.

        Decoding and transforms are timed in one process.
        """
        from mmaction.registry import TRANSFORMS

        runner = self.runner()
        model, loader = runner.model, runner.build_dataloader(runner._train_dataloader)
        wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        clock = dict.fromkeys(PARTS, 0.0)
        dataset = loader.dataset
        steps = [TRANSFORMS.build(t) for t in runner._train_dataloader.dataset.pipeline]
        videos = min(len(dataset), self.data.batch * repeats)
        for k in range(videos):
            sample = dataset.get_data_info(k)
            for n, step in enumerate(steps):
                with _add(clock, 'decode' if n < 3 else 'transforms'):
                    sample = step(sample)
        model.train()
        batches = iter(loader)
        for repeat in range(repeats + 1):
            batch = next(batches)
            if repeat == 1:  # the first one warms up
                clock.update(dict.fromkeys(PARTS[2:], 0.0))
            self._profiled_step(model, wrapper, batch, clock)
        del batches
        frames = self.data.frames * self.data.batch * repeats
        per_video = self.data.frames * videos
        return {
            part: seconds * 1e3 / (per_video if part in PARTS[:2] else frames)
            for part, seconds in clock.items()
        }

    def _profiled_step(self, model, wrapper, batch, clock) -> None:
        """Run a training step and add the times of its parts to ``clock``."""
        with _add(clock, 'preprocess'):
            batch = model.data_preprocessor(batch, True)
        parts = {'backbone': model.backbone, 'head': model.cls_head}
        if model.with_neck:
            parts['neck'] = model.neck
        arrived, handles = {}, []

        def outer(name):
            method = 'loss' if name == 'head' else 'forward'
            module, plain = parts[name], getattr(parts[name], method)

            def timed(*args, **kwargs):
                if name != 'backbone':
                    _when_gradient_arrives(args[0], arrived, name)
                with _add(clock, name):
                    return plain(*args, **kwargs)

            setattr(module, method, timed)
            handles.append((module, method))

        for name in parts:
            outer(name)
        losses = model(**batch, mode='loss')
        loss, _ = model.parse_losses(losses)
        for module, method in handles:
            delattr(module, method)
        _synchronize()
        last = time.perf_counter()
        loss.backward()
        _synchronize()
        end = time.perf_counter()
        for name in ('head', 'neck', 'backbone'):
            if name in parts:
                until = arrived.get(name, end)
                clock[name] += until - last
                last = until
        with _add(clock, 'optimizer'):
            wrapper.step()
            wrapper.zero_grad()

    def rest(self) -> None:
        """Release memory for the turns of other runs."""
        from cnnlstm_mm.memory import return_freed_memory

        gc.collect()
        return_freed_memory()

    def peak(self) -> float:
        """Peak memory of this process in MB, without data loader workers; on a GPU, of the GPU."""
        import torch

        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated() / 1e6
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _when_gradient_arrives(x, arrived: dict, name: str) -> None:
    """Record when backward reaches ``x``, the input of ``name``."""

    def note(_):
        _synchronize()
        arrived[name] = time.perf_counter()

    if x.requires_grad:
        x.register_hook(note)


@contextmanager
def _add(clock: dict, part: str):
    _synchronize()
    start = time.perf_counter()
    yield
    _synchronize()
    clock[part] += time.perf_counter() - start


def _synchronize() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
