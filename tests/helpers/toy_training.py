"""A training of a second: a model that divides, and samples that break it."""

import itertools
import os
import sys

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmaction.structures import ActionDataSample

RUNS = itertools.count()


class Toy(BaseModel):
    """x [N, 4] -> BN -> Linear -> |.| ** power; power < 1 has no gradient at
    0, where the loss is finite."""

    def __init__(self, power=2.0):
        super().__init__()
        self.norm, self.fc, self.power = nn.BatchNorm1d(4), nn.Linear(4, 3), power

    def forward(self, inputs, data_samples=None, mode='tensor'):
        x = torch.stack(inputs)
        scores = self.fc(self.norm(x)).abs()
        if mode == 'loss':
            if (x == 7).any():  # the sample of the missing gradient
                scores = (scores * 0) ** 0.5
            return dict(loss_cls=(scores**self.power).mean())
        for sample, score in zip(data_samples, scores):
            sample.set_pred_score(score)
        return data_samples


class Samples(torch.utils.data.Dataset):
    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, k):
        generator = torch.Generator().manual_seed(k)
        x = torch.randn(4, generator=generator)
        if self.values[k] is not None:
            x[1] = self.values[k]
        sample = ActionDataSample().set_gt_label(k % 3)
        sample.set_metainfo(dict(filename=f'video_{k}.mp4'))
        return dict(inputs=x, data_samples=sample)


class Take(torch.utils.data.Sampler):
    def __init__(self, order):
        self.order = order

    def __iter__(self):
        return iter(self.order)

    def __len__(self):
        return len(self.order)


class Keep(Hook):
    """The state after each iteration."""

    def __init__(self):
        self.states = []

    def after_train_iter(self, runner, *args, **kwargs):
        model = getattr(runner.model, 'module', runner.model)
        self.states.append({k: v.clone() for k, v in model.state_dict().items()})


def runner(work_dir, values, order=None, hook=None, wrapper=None, **kwargs):
    """A Runner over batches of two; ``values`` by sample, None for a good
    one."""
    torch.manual_seed(0)
    data = Samples(values)
    rank, world = (
        int(os.environ.get(name, default)) for name, default in (('RANK', 0), ('WORLD_SIZE', 1))
    )
    order = list(range(len(values))) if order is None else order
    order = [k for k in order if k // 2 % world == rank]
    return Runner(
        Toy(),
        str(work_dir),
        train_dataloader=dict(dataset=data, batch_size=2, sampler=Take(order), num_workers=0),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=wrapper
        or dict(optimizer=dict(type='AdamW', lr=0.1), clip_grad=dict(max_norm=5)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=100),
            checkpoint=None,
            finite_loss=dict(type='FiniteLossHook', **(hook or {})),
        ),
        experiment_name=f'toy{next(RUNS)}',
        log_level='INFO',
        default_scope='mmaction',
        **kwargs,
    )


def two_processes(work_dir, cfg, action):
    """Sample 2, in the second process, is broken; what both end with."""
    run = runner(
        work_dir,
        [None, None, float('nan'), *[None] * 5],
        hook=dict(action=action),
        launcher='pytorch',
        cfg=dict(model_wrapper_cfg=cfg.model_wrapper_cfg),
    )
    rank = os.environ['RANK']
    try:
        run.train()
    except FloatingPointError as error:
        with open(f'{work_dir}/raised_{rank}', 'w') as file:
            file.write(str(error))
    model = getattr(run.model, 'module', run.model)
    torch.save(model.state_dict(), f'{work_dir}/end_{rank}.pth')


if __name__ == '__main__':
    from cnnlstm_mm import compat

    launched = Config(dict(launcher='pytorch'))
    compat.apply_gloo_without_cuda(launched)
    for what in ('stop', 'skip'):
        two_processes(f'{sys.argv[1]}/{what}', launched, what)
    torch.distributed.destroy_process_group()
