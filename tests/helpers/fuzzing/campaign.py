"""Many cases of one kind, by a seed."""

import importlib
from collections import Counter

from hypothesis import HealthCheck, Phase, given, seed, settings

KINDS = ('configs', 'videos', 'lists', 'checkpoints', 'states', 'containers', 'archives', 'tables')
FAULTS = ('fault', 'crash', 'hang')


def run(child, kind, count, number, told=None):
    """Draw cases and have them checked.

    Args:
        child (Child): Checks them.
        kind (str): One of ``KINDS``.
        count (int): How many.
        number (int): The seed.
        told (Callable, optional): Called after each. Defaults to None.

    Returns:
        tuple[Counter, list]: Verdicts, and the faults as (verdict, reason,
        case).
    """
    verdicts, faults = Counter(), []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(importlib.import_module(f'helpers.fuzzing.{kind}').cases())
    def one(case):
        verdict, reason = child.ask(kind, case)
        verdicts[verdict] += 1
        if verdict in FAULTS:
            faults.append((verdict, reason, case))
        if told is not None:
            told()

    one()
    return verdicts, faults
