"""What counts as a refusal of ours."""

from pathlib import Path

import cnnlstm_mm

OURS = str(Path(cnnlstm_mm.__file__).parent)
KINDS = (
    ValueError,
    TypeError,
    RuntimeError,
    KeyError,
    FileNotFoundError,
    IsADirectoryError,
    FloatingPointError,
)
# Words of mmengine and Python that name the key and what to do about it.
GOOD_ENOUGH = ('is not in the', 'unexpected keyword argument', 'missing 1 required')


class Fault(Exception):
    """Not a refusal: a result that is not finite, or wrong."""


def judged(check, case, place):
    """Run a check.

    Args:
        check (Callable): ``check(case, place)`` returns the words that a
            refusal must hold, and a function to run.
        case (Any): The input.
        place (Path): A folder for its files.

    Returns:
        tuple[str, str]: 'accepted', 'refused' or 'fault'; and the reason.
        A word may be several, parted by a bar, of which one is enough.
    """
    words, run = check(case, place)
    try:
        run()
    except Fault as fault:
        return 'fault', str(fault)
    except Exception as error:
        root = error
        # mmengine's registry raises errors of __init__ once more.
        while innermost(root).endswith('build_functions.py') and (
            root.__cause__ or root.__context__
        ):
            root = root.__cause__ or root.__context__
        said = f'{type(error).__name__}: {error}'
        if not isinstance(error, KINDS):
            return 'fault', said
        if not innermost(root).startswith(OURS) and not any(text in said for text in GOOD_ENOUGH):
            return 'fault', f'{said} (from {innermost(root)})'
        lost = [word for word in words if not any(part in said for part in word.split('|'))]
        if lost:
            return 'fault', f'{said} does not say {lost}'
        return 'refused', said
    return 'accepted', ''


def innermost(error):
    """The file that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename if trace is not None else ''


def finite(name, *tensors):
    """Raise a Fault if one is not finite."""
    for tensor in tensors:
        if not bool(tensor.isfinite().all()):
            raise Fault(f'{name} was accepted and gives {tensor}')
