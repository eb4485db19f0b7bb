"""Commands that train and test a run."""

import sys
from dataclasses import dataclass
from pathlib import Path

from cnnlstm_mm.resources import resource_root

from .plan import Run
from .run_state import PREDICTIONS

TOOLS = resource_root() / 'tools'


@dataclass(frozen=True)
class Launch:
    """How to start training and testing."""

    launcher: str = 'none'  # or 'pytorch' or 'slurm'
    gpus: int = 1  # processes per run, one per GPU
    partition: str | None = None  # of Slurm
    train_flags: tuple[str, ...] = ()  # more flags of cnnlstm-mm train

    def __post_init__(self) -> None:
        if self.launcher == 'slurm' and not self.partition:
            raise ValueError('expected --partition NAME with --launcher slurm')
        if self.launcher == 'none' and self.gpus > 1:
            raise ValueError(f'expected --launcher pytorch or slurm for --gpus {self.gpus}')
        if self.gpus < 1:
            raise ValueError(f'expected --gpus to be at least 1, got {self.gpus}')

    def start(self, what: str, run: Run) -> list[str]:
        """The beginning of a command, up to the config; ``what`` is train or test."""
        script = str(TOOLS / f'{what}.py')
        if self.launcher == 'slurm':
            return ['bash', str(TOOLS / f'slurm_{what}.sh'), str(self.partition), run.work_dir.name]
        if self.launcher == 'pytorch':
            run_processes = ['-m', 'torch.distributed.run', '--standalone']
            return [sys.executable, *run_processes, f'--nproc_per_node={self.gpus}', script]
        return [sys.executable, script]


def commands(run: Run, launch: Launch, checkpoint: Path | None = None) -> list[list[str]]:
    """Make the commands that train and test.

    Args:
        run: The run.
        launch: How to start it.
        checkpoint: What to test; by default the last one.

    Returns:
        The command that trains from the newest checkpoint on, if epochs are left; and the one
        that tests.
    """
    common = ['--work-dir', str(run.work_dir)]
    if launch.launcher == 'pytorch':  # Slurm's scripts add theirs
        common += ['--launcher', launch.launcher]
    options = {**run.cfg_options, **({} if run.split is None else {'split': run.split})}
    if options:
        common += ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]
    checkpoint = checkpoint or run.work_dir / f'{run.unit}_{run.length}.pth'
    train = [*launch.start('train', run), str(run.config), '--resume', '--seed', str(run.seed)]
    train += [*launch.train_flags, *common]
    test = [*launch.start('test', run), str(run.config), str(checkpoint)]
    test += ['--dump', str(run.work_dir / PREDICTIONS), *common]
    return [train, test]
