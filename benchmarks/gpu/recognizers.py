"""Frames a second of whole recognizers, against MMAction2's own TSN-MobileNetV2.

Batches of uint8 clips come from memory, as a data loader hands them out; the
preprocessor, the optimizer's step and the copies to the card are timed too.
Weights are random.
"""

import torch
from common import arguments, name_of, seconds, write
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import init_default_scope

import cnnlstm_mm  # noqa: F401  before mmaction loads
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

NORMALIZE = dict(mean=[127.5] * 3, std=[127.5] * 3)
NECKS = {
    'LSTM': dict(type='LSTMPoolingNeck'),
    'ConvLSTM': dict(type='ConvLSTMNeck'),
    'light ConvLSTM': dict(type='ConvLSTMNeck', reduce_channels=256, gate_conv='depthwise'),
}


def models() -> dict[str, dict]:
    """Configs by name, the stock model first."""
    head = dict(num_classes=101, average_clips='prob')
    found = {
        'TSN (stock)': dict(
            type='Recognizer2D',
            backbone=dict(type='MobileNetV2'),
            cls_head=dict(
                head,
                type='TSNHead',
                in_channels=1280,
                spatial_type='avg',
                consensus=dict(type='AvgConsensus', dim=1),
            ),
            data_preprocessor=dict(type='ActionDataPreprocessor', format_shape='NCHW', **NORMALIZE),
        )
    }
    for name, neck in NECKS.items():
        found[name] = dict(
            type='Recognizer3D',
            backbone=dict(type='TimeDistributed', backbone=dict(type='MobileNetV2')),
            neck=dict(neck, in_channels=1280, hidden_channels=256),
            cls_head=dict(head, type='I3DHead', in_channels=256),
            data_preprocessor=dict(
                type='ActionDataPreprocessor', format_shape='NCTHW', **NORMALIZE
            ),
        )
    return found


def batch_of(clips: int, frames: int, side: int, flat: bool, device: str) -> dict:
    """A batch as a data loader gives it."""
    shape = (frames, 3, side, side) if flat else (1, 3, frames, side, side)
    samples = []
    for k in range(clips):
        sample = ActionDataSample()
        sample.set_gt_label(k % 101)
        samples.append(sample)
    inputs = [torch.randint(0, 256, shape, dtype=torch.uint8) for _ in range(clips)]
    if device != 'cpu':
        inputs = [x.pin_memory() for x in inputs]
    return dict(inputs=inputs, data_samples=samples)


def main() -> None:
    args = arguments(__doc__)
    init_default_scope('mmaction')
    clips, frames, side = (2, 2, 64) if args.rehearse else (16, 16, 224)
    rows = []
    for name, config in models().items():
        model = MODELS.build(config).to(args.device)
        model.data_preprocessor.to(args.device)
        batch = batch_of(clips, frames, side, config['type'] == 'Recognizer2D', args.device)
        row = dict(model=name)
        for amp in (True, False):
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
            wrapper = (
                AmpOptimWrapper(optimizer=optimizer, dtype='bfloat16')
                if amp and not args.rehearse  # mmengine's refuses to run on a CPU
                else OptimWrapper(optimizer)
            )
            precision = 'bf16' if amp else 'fp32'

            def train():
                model.train()
                model.train_step(batch, wrapper)

            def test():
                model.eval()
                with torch.no_grad(), torch.autocast(args.device, torch.bfloat16, enabled=amp):
                    model.test_step(batch)

            for mode, function in (('train', train), ('test', test)):
                row[f'{mode}_{precision}'] = clips * frames / seconds(function, args.device, 1)
        rows.append(row)
        write(args.json, dict(device=name_of(args.device), unit='frames/s', rows=rows))
        print(row)


if __name__ == '__main__':
    main()
