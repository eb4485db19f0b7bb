"""Speed of stored features, against the same training on videos, in one run.

    python benchmarks/feature_cache.py --videos DIR --list LIST [--weights W]

Frozen MobileNetV2 at 224, 16 frames. It prints, as a table and as JSON:
frames a second of the backbone alone on frames in memory and of the
extraction, decoding included; and the seconds of an epoch of neck and head
from videos and from stored features, for the LSTM and for a light ConvLSTM.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

import cnnlstm_mm  # noqa: F401  mends and registers first
from cnnlstm_mm.features.config import use_features
from cnnlstm_mm.features.extraction import FeatureExtractor

ROOT = Path(__file__).resolve().parent.parent
FRAMES, SIZE = 16, 224
LIGHT = dict(
    type='ConvLSTMNeck',
    in_channels=1280,
    reduce_channels=128,
    hidden_channels=128,
    kernel_size=3,
    padding='same',
    gate_conv='depthwise',
    return_mode='last',
)


class EpochTimes(Hook):
    """Record the seconds of each training epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def before_train_epoch(self, runner: Runner) -> None:
        self._started = time.perf_counter()

    def after_train_epoch(self, runner: Runner) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def make_config(args: argparse.Namespace, clips: Path, neck: str, work_dir: str) -> Config:
    """UCF101-mini10's recipe with MobileNetV2 and 16 frames."""
    base = ROOT / 'configs' / '_base_'
    text = (
        f'_base_ = ["{base}/backbones/mobilenetv2.py", "{base}/necks/lstm.py", '
        f'"{base}/recipes/ucf101_mini10.py"]\n'
        'model = _base_.pop("neck_part") | _base_.pop("recipe_part")\n'
    )
    path = Path(work_dir, 'benchmark_config.py')
    path.write_text(text)
    cfg = Config.fromfile(path)
    cfg.model.backbone.frozen = True
    cfg.model.backbone.backbone.init_cfg = args.weights and dict(
        type='Pretrained', checkpoint=args.weights
    )
    cfg.model.data_preprocessor.mean = [127.5] * 3
    cfg.model.data_preprocessor.std = [127.5] * 3
    cfg.model.cls_head.num_classes = args.num_classes
    if neck == 'ConvLSTM':
        cfg.model.neck = dict(LIGHT)
        cfg.model.cls_head.in_channels = LIGHT['hidden_channels']
    cfg.train_dataloader.dataset.ann_file = str(clips)
    cfg.train_dataloader.dataset.data_prefix.video = args.videos
    cfg.train_dataloader.dataset.pipeline[1].clip_len = FRAMES
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.work_dir = work_dir
    cfg.log_level = 'WARNING'
    cfg.default_hooks.checkpoint = None
    cfg.train_cfg.max_epochs = args.epochs
    return cfg


def epoch_seconds(cfg: Config) -> list[float]:
    """Train and return the seconds of each epoch after the first."""
    runner = Runner.from_cfg(cfg)
    times = EpochTimes()
    runner.register_hook(times, priority='VERY_LOW')
    runner.train()
    return times.seconds[1:]


def backbone_rate(extractor: FeatureExtractor, batch_size: int) -> float:
    """Frames a second of the folded channels_last backbone alone."""
    clips = torch.randn(batch_size, 3, FRAMES, SIZE, SIZE)
    backbone, seconds = extractor.model.backbone, []
    with torch.no_grad():
        for _ in range(12):
            started = time.perf_counter()
            backbone(clips)
            seconds.append(time.perf_counter() - started)
    return batch_size * FRAMES / statistics.median(seconds[2:])


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Run all measurements."""
    result: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(args.list).read_text().splitlines()
        step = max(len(lines) // args.clips, 1)
        lines = lines[::step][: args.clips]
        clips = Path(folder, 'clips.txt')
        clips.write_text('\n'.join(lines) + '\n')
        for neck in ('LSTM', 'ConvLSTM'):
            store = Path(folder, neck)
            extractor = FeatureExtractor(
                make_config(args, clips, neck, folder),
                store,
                ['train'],
                batch_size=args.batch_size,
                num_workers=args.num_workers,
            )
            alone = backbone_rate(extractor, args.batch_size)
            started = time.perf_counter()
            extractor.run(lambda views: None)
            seconds = time.perf_counter() - started
            again = backbone_rate(extractor, args.batch_size)
            result[f'{neck}: backbone alone, frames/s'] = (alone + again) / 2
            result[f'{neck}: extraction, frames/s'] = len(lines) * FRAMES / seconds
            del extractor
            videos = statistics.median(epoch_seconds(make_config(args, clips, neck, folder)))
            cached = statistics.median(
                epoch_seconds(use_features(make_config(args, clips, neck, folder), str(store)))
            )
            result[f'{neck}: epoch from videos, s'] = videos
            result[f'{neck}: epoch from features, s'] = cached
            result[f'{neck}: epoch, times as fast'] = videos / cached
            result[f'{neck}: extraction / backbone alone'] = (
                result[f'{neck}: extraction, frames/s']
                / result[f'{neck}: backbone alone, frames/s']
            )
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description='Stored features against videos')
    parser.add_argument('--videos', required=True, help='folder of the clips')
    parser.add_argument('--list', required=True, help='training list')
    parser.add_argument('--weights', help='checkpoint of MobileNetV2; default: random weights')
    parser.add_argument('--num-classes', type=int, default=10)
    parser.add_argument('--clips', type=int, default=80)
    parser.add_argument(
        '--epochs', type=int, default=2, help='epochs, of which the first is not timed; default: 2'
    )
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument('--num-workers', type=int, default=2)
    args = parser.parse_args()
    init_default_scope('mmaction')
    result = measure(args)
    width = max(map(len, result))
    print(f'| {"measured":{width}} | value  |\n| {"-" * width} | ------ |')
    for name, value in result.items():
        print(f'| {name:{width}} | {value:6.2f} |')
    print(json.dumps(result))


if __name__ == '__main__':
    main()
