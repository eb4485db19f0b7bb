"""Trainings in 1, 2 and 4 processes, for test_distributed.py.

    python -m helpers.distributed_jobs OUT

One start of Python forks every process, so that importing is paid for once.
Each job is a function that all processes of a group call; what it returns in
the main process is pickled to OUT/JOB_PROCESSES.pkl.
"""

import itertools
import os
import pickle
import sys
import time
import traceback
from pathlib import Path

import matplotlib.backends.backend_agg
import matplotlib.pyplot  # noqa: F401
import torch
import torch._dynamo
from helpers.support import free_port
from mmengine.config import Config
from mmengine.config import config as mmengine_config
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

import cnnlstm_mm  # noqa: F401
from cnnlstm_mm.datasets.seeding import seed_everything
from cnnlstm_mm.engine.launch import build_runner, leave_process_group
from mmaction.registry import DATASETS, HOOKS, METRICS, MODELS
from mmaction.structures import ActionDataSample

# mmengine shares log histories between runs of one name and second.
NUMBER = itertools.count()
CHANNELS, STEPS, SIDE, CLASSES = 6, 4, 4, 5
EPOCHS = 2


@DATASETS.register_module()
class NoiseDataset(Dataset):
    """Features that depend on their number, and a little on chance."""

    def __init__(self, size, channels=CHANNELS, side=SIDE, ragged=False, augment=True, pause=0):
        self.size, self.channels, self.side = size, channels, side
        self.ragged, self.augment, self.pause = ragged, augment, pause

    def __len__(self):
        return self.size

    def __getitem__(self, k):
        generator = torch.Generator().manual_seed(k)
        time.sleep(self.pause)
        steps = 1 + k % STEPS if self.ragged else STEPS
        x = torch.randn(1, self.channels, steps, self.side, self.side, generator=generator)
        if self.augment:
            x = x + 0.1 * torch.rand(())
        sample = ActionDataSample().set_gt_label(k % CLASSES)
        sample.set_metainfo(dict(filename=str(k)))
        return dict(inputs=x, data_samples=sample)


@METRICS.register_module()
class Names(BaseMetric):
    """How many samples were counted, and how many different ones."""

    def process(self, data_batch, data_samples):
        self.results += [
            sample.metainfo['filename'] if hasattr(sample, 'metainfo') else sample['filename']
            for sample in data_batch['data_samples']
        ]

    def compute_metrics(self, results):
        return dict(counted=len(results), names=sorted(map(int, results)))


@HOOKS.register_module()
class KeepLosses(Hook):
    """The losses that the log is made of."""

    priority = 'VERY_LOW'

    def before_run(self, runner):
        runner.kept = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        runner.kept.append({name: value.item() for name, value in outputs.items()})


@MODELS.register_module()
class Together(BaseModel):
    """Recognizers that learn side by side, each from a loss of its own."""

    def __init__(self, models, data_preprocessor):
        super().__init__(data_preprocessor)
        self.models = torch.nn.ModuleDict(
            {name: MODELS.build(model) for name, model in models.items()}
        )

    def forward(self, inputs, data_samples=None, mode='loss'):
        return {
            f'loss of {name}': model(inputs, data_samples, mode='loss')['loss_cls']
            for name, model in self.models.items()
        }


CONV = dict(type='ConvLSTMNeck', in_channels=CHANNELS, hidden_channels=4, padding='same')
LSTM = dict(type='LSTMPoolingNeck', in_channels=CHANNELS, hidden_channels=4)
STEPWISE = dict(type='PerStepHead', dropout_ratio=0, clip_len=2)
NECKS = {
    'conv last': CONV,
    'conv mean, peephole, norm': dict(CONV, return_mode='mean', peephole=True, norm=True),
    'conv both ways, 2 layers': dict(CONV, bidirectional=True, num_layers=2, kernel_size=1),
    'conv backwards, dilated, hard': dict(
        CONV, go_backwards=True, dilation=2, recurrent_activation='hard_sigmoid'
    ),
    'conv valid, strided, no bias': dict(CONV, padding='valid', stride=2, bias=False),
    'conv depthwise, reduced': dict(CONV, gate_conv='depthwise', reduce_channels=3),
    'conv pooled, plain': dict(CONV, gate_conv='pooled', fused=False),
    'conv sequence': dict(CONV, return_mode='sequence'),
    'conv carried': dict(CONV, return_mode='sequence', tbptt_len=2),
    'lstm last': LSTM,
    'lstm mean, both ways, 2 layers': dict(
        LSTM, temporal_pool='mean', bidirectional=True, num_layers=2
    ),
    'lstm max, flat, dense': dict(
        LSTM, temporal_pool='max', spatial_pool='flatten', spatial_size=SIDE, dense_channels=5
    ),
    'lstm attention, max': dict(LSTM, temporal_pool='attention', spatial_pool='max'),
    'lstm all steps': dict(LSTM, temporal_pool='none'),
    'lstm begun anew': dict(LSTM, temporal_pool='none', tbptt_len=2, carry_prob=0.0),
}
RAGGED_NECKS = {'conv, different lengths': CONV, 'lstm, different lengths': LSTM}
# These draw random numbers in the model: other ones in each process.
RANDOM_NECKS = {
    'conv dropout, carried at times': dict(
        CONV,
        return_mode='sequence',
        tbptt_len=2,
        carry_prob=0.5,
        dropout=0.3,
        recurrent_dropout=0.3,
    ),
    'lstm dropout': dict(LSTM, num_layers=2, dropout=0.5),
}


def recognizer(neck):
    """Neck and head on features that come as they are."""
    every = neck.get('return_mode') == 'sequence' or neck.get('temporal_pool') == 'none'
    head = dict(STEPWISE) if every else dict(type='I3DHead', dropout_ratio=0)
    channels = neck['hidden_channels'] * (1 + bool(neck.get('bidirectional')))
    return dict(
        type='Recognizer3D',
        backbone=dict(type='PrecomputedFeatures'),
        neck=neck,
        cls_head=dict(head, num_classes=CLASSES, in_channels=channels, average_clips='prob'),
        data_preprocessor=dict(type='FeatureDataPreprocessor'),
    )


def config(model, processes, work_dir, size=41, epochs=EPOCHS, batch=8, ragged=False, **changes):
    """A training on noise; the batch is that of all processes."""
    cfg = dict(
        default_scope='mmaction',
        launcher='none' if processes == 1 else 'pytorch',
        work_dir=str(work_dir),
        log_level='ERROR',
        experiment_name=f'run_{next(NUMBER)}',
        randomness=dict(seed=5),
        model=model,
        train_dataloader=dict(
            batch_size=batch // processes,
            num_workers=0,
            dataset=dict(type='NoiseDataset', size=size, ragged=ragged),
            sampler=dict(type='DefaultSampler', shuffle=True),
        ),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.5, momentum=0.9)),
        default_hooks=dict(checkpoint=None, sync_buffers=dict(type='SyncBuffersHook')),
        custom_hooks=[dict(type='KeepLosses')],
    )
    cfg.update(changes)
    return Config(cfg)


def together(necks, processes, out, **kwargs):
    """A training of several necks."""
    return config(
        dict(
            type='Together',
            models={name: recognizer(neck) for name, neck in necks.items()},
            data_preprocessor=dict(type='FeatureDataPreprocessor'),
        ),
        processes,
        out,
        **kwargs,
    )


def trained(cfg, modes=('train',)):
    """Train; losses and weights."""
    runner = build_runner(cfg, modes)
    runner.train()
    model = getattr(runner.model, 'module', runner.model)
    return dict(
        losses=[outputs['loss'] for outputs in runner.kept],
        outputs=runner.kept,
        weights={name: value.clone() for name, value in model.state_dict().items()},
    )


def necks(processes, out):
    """Train every neck."""
    return trained(together(NECKS, processes, out))


def ragged_necks(processes, out):
    """Train on sequences of different lengths."""
    return trained(together(RAGGED_NECKS, processes, out, ragged=True))


def unused(processes, out):
    """What DDP says of a parameter that the loss does not depend on."""
    cfg = config(recognizer(CONV), processes, out)
    runner = build_runner(cfg, ['train'])
    runner.model.module.neck.idle = torch.nn.Parameter(torch.zeros(1))
    from torch.nn.parallel import DistributedDataParallel

    assert isinstance(runner.model, DistributedDataParallel)
    runner.model = runner.wrap_model(cfg.model_wrapper_cfg, runner.model.module)
    try:
        runner.train()
    except RuntimeError as error:
        return str(error)


def random_necks(processes, out):
    """Train the necks that draw random numbers."""
    return trained(together(RANDOM_NECKS, processes, out))


def random_necks_by_hand(processes, out):
    """What two processes must do, in one: a plain loop over their parts."""
    runner = build_runner(together(RANDOM_NECKS, 1, out), ['train'])
    runner.model.init_weights()
    model, outputs = runner.model.train(), []
    optimizer = torch.optim.SGD(model.parameters(), 0.5, momentum=0.9)
    data = NoiseDataset(41)
    for epoch in range(EPOCHS):
        generator = torch.Generator().manual_seed(5 + epoch)
        order = torch.randperm(41, generator=generator).tolist()
        for first in range(0, 41, 8):
            places = range(first, min(first + 8, 41))
            total = {}
            for rank in range(2):
                part = []
                for place in places[rank::2]:
                    seed_everything(5, epoch, place)
                    part.append(data[order[place]])
                if not part:
                    continue
                batch = {key: [sample[key] for sample in part] for key in part[0]}
                seed_everything(5, len(outputs), rank, 1)
                losses = model(**model.data_preprocessor(batch, True))
                for name, loss in losses.items():
                    total[name] = total.get(name, 0.0) + loss * len(part) / len(places)
            optimizer.zero_grad()
            sum(total.values()).backward()
            optimizer.step()
            outputs.append({name: loss.item() for name, loss in total.items()})
    return dict(outputs=outputs, weights=model.state_dict())


def frozen_backbone(processes, out, batch=8, accumulate=1, epochs=2, **kw):
    """A real backbone whose batch norm keeps its statistics."""
    cfg = config(recognizer(LSTM), processes, out, size=48, batch=batch, epochs=epochs)
    cfg.model.update(
        data_preprocessor=dict(type='ActionDataPreprocessor', format_shape='NCTHW'),
        backbone=dict(
            type='TimeDistributed',
            backbone=dict(
                type='MobileNetV1',
                widen_factor=0.25,
                out_indices=(1,),
                norm_cfg=dict(type='BN'),
                norm_eval=not kw.get('batch_norm'),
            ),
        ),
        neck=dict(LSTM, in_channels=32),
    )
    cfg.train_dataloader.dataset.update(channels=3, side=16)
    cfg.optim_wrapper.update(accumulative_counts=accumulate, optimizer=dict(type='SGD', lr=0.05))
    cfg.update(kw.get('changes', {}))
    return trained(cfg)


def accumulation(processes, out):
    """The batch at once, and in two halves."""
    return [frozen_backbone(processes, out), frozen_backbone(processes, out, batch=4, accumulate=2)]


def test_set(processes, out):
    """101 videos."""
    test = dict(
        batch_size=3,
        num_workers=0,
        dataset=dict(type='NoiseDataset', size=101, augment=False),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    cfg = config(
        recognizer(CONV),
        processes,
        out,
        train_dataloader=None,
        train_cfg=None,
        optim_wrapper=None,
        test_dataloader=test,
        test_cfg=dict(),
        test_evaluator=[dict(type='AccMetric'), dict(type='Names')],
    )
    runner = build_runner(cfg, ['test'])
    runner.model.eval()
    return runner.test()


def resumed(processes, out):
    """Leave a training in the middle of an epoch, of a pair of batches, and
    with batch norms that differ between the processes; go on from there."""

    def run(folder, epochs=2, **changes):
        hook = dict(type='CheckpointHook', by_epoch=False, interval=3, max_keep_ckpts=-1)
        changes = dict(
            changes,
            work_dir=f'{out}/{folder}_{processes}',
            default_hooks=dict(checkpoint=hook, sync_buffers=dict(type='SyncBuffersHook')),
        )
        return frozen_backbone(
            processes, out, batch_norm=True, accumulate=2, epochs=epochs, changes=changes
        )

    whole = run('whole')
    path = f'{out}/whole_{processes}/iter_9.pth'
    stored = torch.load(path, weights_only=True)['exact_resume']
    return dict(
        whole=whole,
        stored=stored['rank_states'] or [],
        resumed=run('resumed', resume=True, load_from=path),
    )


def restartable(processes, out):
    """The training that test_distributed.py also kills under torchrun."""
    return trained(restartable_config(processes, out / 'whole_run'))


def restartable_config(processes, work_dir, *imports):
    """A training that takes some seconds."""
    hooks = dict(
        checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4, max_keep_ckpts=2),
        sync_buffers=dict(type='SyncBuffersHook'),
    )
    cfg = together(
        RANDOM_NECKS,
        processes,
        work_dir,
        default_hooks=hooks,
        custom_imports=dict(imports=['cnnlstm_mm', 'helpers.distributed_jobs', *imports]),
        epochs=4,
    )
    cfg.train_dataloader.dataset.pause = 0.02
    return cfg


def sharded(processes, out):
    """FSDP, through mmengine's FlexibleRunner; one process runs as ever."""
    cfg = config(
        recognizer(CONV),
        processes,
        out / f'sharded_{processes}',
        size=48,
        epochs=2,
        env_cfg=dict(),
        default_hooks=dict(checkpoint=dict(type='VerifiedCheckpointHook', interval=1)),
    )
    cfg.train_dataloader.dataset.augment = False
    cfg.optim_wrapper.type = 'OptimWrapper'
    if processes > 1:
        cfg.update(
            runner_type='FlexibleRunner',
            strategy=dict(
                type='FSDPStrategy',
                state_dict_cfg='local',
                model_wrapper=dict(type='MMFullyShardedDataParallel', use_orig_params=True),
            ),
        )
    runner = build_runner(cfg, ['train'])
    runner.train()
    last = out / f'sharded_{processes}' / 'epoch_2.pth'
    kept = all_gather_object([outputs['loss'] for outputs in runner.kept])
    return dict(
        outputs=[dict(loss=sum(losses) / len(losses)) for losses in zip(*kept)],
        weights={},
        files=sorted(os.listdir(last)) if last.is_dir() else [last.name],
    )


def resources(processes, out):
    """What a training holds after each epoch, with workers that stay and
    with new ones."""
    sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))
    from epoch_resources import ResourceHook

    found = []
    for persistent in (True, False):
        cfg = config(
            recognizer(CONV),
            processes,
            out / f'held{persistent}',
            epochs=6,
            default_hooks=dict(
                checkpoint=dict(
                    type='CheckpointHook', interval=1, max_keep_ckpts=1, save_best='auto'
                )
            ),
        )
        cfg.train_dataloader.update(num_workers=2, persistent_workers=persistent)
        cfg.val_dataloader = dict(
            cfg.train_dataloader, sampler=dict(type='DefaultSampler', shuffle=False)
        )
        cfg.val_cfg, cfg.val_evaluator = dict(), dict(type='AccMetric')
        hook = ResourceHook()
        runner = build_runner(cfg, ['train', 'val'])
        runner.register_hook(hook)
        runner.train()
        found.append(hook.epochs)
    return found


JOBS = [
    (1, resources),
    (1, necks),
    (2, necks),
    (4, necks),
    (1, ragged_necks),
    (2, ragged_necks),
    (4, ragged_necks),
    (2, restartable),
    (1, sharded),
    (2, sharded),
    (2, unused),
    (2, random_necks),
    (1, random_necks_by_hand),
    (1, frozen_backbone),
    (4, frozen_backbone),
    (1, accumulation),
    (2, accumulation),
    (1, test_set),
    (4, test_set),
    (1, resumed),
    (2, resumed),
    (4, resumed),
]


def serve(rank, processes, jobs, port, out):
    """Do all jobs in one process of a group."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(processes),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    init_default_scope('mmaction')
    # Formatting a config takes longer than training with it does here.
    Config.pretty_text = property(lambda cfg: repr(cfg._cfg_dict))
    for job in jobs:
        result = job(processes, out)
        if rank == 0:
            path = out / f'{job.__name__}_{processes}.pkl'
            path.write_bytes(pickle.dumps(result))
    leave_process_group()


def main():
    out = Path(sys.argv[1])
    for processes in (1, 2, 4):
        jobs = [
            job
            for count, job in JOBS
            if count == processes and job.__name__ in (sys.argv[2:] or job.__name__)
        ]
        children, port = [], free_port()
        for rank in range(processes):
            child = os.fork()
            if not child:
                code = 1
                try:
                    serve(rank, processes, jobs, port, out)
                    code = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)
            children.append(child)
        codes = [os.waitpid(child, 0)[1] for child in children]
        if any(codes):
            sys.exit(f'{processes} processes: {codes}')


if __name__ == '__main__':
    # Each run formats its config three times, which takes longer than its training.
    mmengine_config.FormatCode = lambda text, style_config: (text, True)
    main()
