"""Stamps: the settings that a folder was made with."""

import json
from pathlib import Path
from typing import Any

from .atomic import write_json


def differing_settings(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Name each setting that differs, with both values."""
    return [
        f'{key}={json.dumps(found.get(key))} (wanted: {json.dumps(wanted.get(key))})'
        for key in [*wanted, *(key for key in found if key not in wanted)]
        if found.get(key) != wanted.get(key)
    ]


def check_stamp(path: Path, settings: dict[str, Any]) -> bool:
    """Write a folder's settings, or compare them with those that it was made with.

    Args:
        path: The stamp, a JSON file in the folder; call this under the folder's lock.
        settings: Values that JSON gives back as they are.

    Returns:
        Whether the stamp was there.

    Raises:
        ValueError: If it names other settings; with each difference and the cure.
    """
    if not path.is_file():
        write_json(path, settings, indent=2)
        return False
    try:
        found = dict(json.loads(path.read_text(encoding='utf-8')))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f'{path}: expected the settings of {path.parent}, got damaged JSON ({error}); fix: '
            'name another --out'
        ) from None
    differences = differing_settings(found, settings)
    if differences:
        raise ValueError(
            f'{path.parent} was made with {", ".join(differences)}; fix: name another --out, or '
            'remove that folder'
        )
    return True
