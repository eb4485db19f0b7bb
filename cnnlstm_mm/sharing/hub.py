"""Shared models on the Hugging Face Hub, or on a server that speaks its protocol (HF_ENDPOINT)."""

from pathlib import Path
from types import ModuleType
from typing import Any

from cnnlstm_mm.version import __version__

from .bundle import CARD, CONFIG, LABELS, WEIGHTS

FILES = [WEIGHTS, CONFIG, LABELS, CARD, '*.onnx']


def hub() -> ModuleType:
    """The module huggingface_hub.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'expected huggingface_hub, got {error}; fix: python -m pip install huggingface_hub',
            name=error.name,
        ) from None
    return huggingface_hub


def upload_bundle(
    folder: Path, repo: str, private: bool = False, message: str | None = None
) -> str:
    """Create a repository, if it is missing, and upload a shared model in one commit.

    Returns:
        The address of the commit.

    Raises:
        RuntimeError: If the server refuses or cannot be reached.
    """
    try:
        api = hub().HfApi(library_name='cnnlstm_mm', library_version=__version__)
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=FILES,
            delete_patterns='*.onnx',  # of earlier weights, unless they are uploaded again
            commit_message=message or f'Model of cnnlstm_mm {__version__}',
        )
    except Exception as error:
        if not _is_of_server(error):
            raise
        raise RuntimeError(
            f'expected to upload to {repo}, got {_sentence(error)}; fix: sign in with `hf auth '
            'login`, or name another repository'
        ) from error
    return str(getattr(done, 'commit_url', done))


def fetch_bundle(name: str | Path, revision: str | None = None) -> Path:
    """The folder of a shared model: a folder of this machine, or a download, which is kept.

    Args:
        name: A folder, or a repository such as ``user/model``.
        revision: Branch, tag or commit of the repository.

    Raises:
        FileNotFoundError: If there is neither; also where the server cannot be reached.
    """
    if Path(name).is_dir():
        return Path(name)
    text = str(name)
    if text.count('/') != 1 or text.startswith(('.', '/', '~')):
        raise FileNotFoundError(
            f'expected a folder or a repository such as user/model, got {text}; fix: check the path'
        )
    try:
        folder = hub().snapshot_download(
            text,
            revision=revision,
            allow_patterns=FILES,
            library_name='cnnlstm_mm',
            library_version=__version__,
        )
    except Exception as error:
        if not _is_of_server(error):
            raise
        raise FileNotFoundError(
            f'expected the repository {text}, got {_sentence(error)}; fix: check the name, the '
            'network and, for a private one, `hf auth login`'
        ) from error
    return Path(folder)


def _is_of_server(error: Exception) -> bool:
    errors: Any = hub().errors
    kinds = (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.HFValidationError)
    return isinstance(error, (*kinds, ConnectionError)) or type(error).__module__.startswith(
        ('httpx', 'requests', 'httpcore')
    )


def _sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
