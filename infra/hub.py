"""Files of Hugging Face Hub repositories."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.errors import InfraError

DATASETS = "datasets/"
"""What the name of a dataset's repository begins with in an address, before owner/name."""


class HubError(InfraError):
    """The Hub cannot be reached, or has no such repository, revision or file."""


def hub_snapshot(repo_id: str, revision: str, patterns: Sequence[str]) -> tuple[Path, str]:
    """Fetch matching files of a model's repository into the Hub's own cache.

    Args:
        repo_id: owner/name.
        revision: branch, tag or commit.
        patterns: globs of the files to fetch.

    Returns:
        The folder with the files, and the commit that ``revision`` stands for.

    Raises:
        HubError: network, name, revision, or a licence that was not accepted.
    """
    from huggingface_hub import snapshot_download

    with _fetching(f"{repo_id} at {revision}"):
        folder = snapshot_download(repo_id, revision=revision, allow_patterns=list(patterns))
    return Path(folder), Path(folder).name


def hub_file(repository: str, commit: str, name: str) -> Path:
    """Fetch one file into the Hub's own cache; the Hub is not asked about one that is there.

    Args:
        repository: owner/name of a model, datasets/owner/name of a dataset.
        commit: in full.
        name: path inside the repository.

    Raises:
        HubError: as above.
    """
    from huggingface_hub import hf_hub_download

    repo_id = repository.removeprefix(DATASETS)
    repo_type = "model" if repo_id == repository else "dataset"
    with _fetching(f"{name} of {repository} at {commit}"):
        return Path(hf_hub_download(repo_id, name, revision=commit, repo_type=repo_type))


@contextmanager
def _fetching(what: str) -> Generator[None]:
    """Without bars of the library's own; its errors in one line."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    disable_progress_bars()
    try:
        yield
    except (HfHubHTTPError, HFValidationError, httpx2.HTTPError, OSError) as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise HubError(
            f"cannot fetch {what} from the Hugging Face Hub ({said}); check the "
            "name, the network, HF_ENDPOINT and HF_TOKEN, or give local files instead."
        ) from error
    finally:
        enable_progress_bars()
