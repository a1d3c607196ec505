"""Files of a Hugging Face Hub repository."""

from collections.abc import Sequence
from pathlib import Path

from infra.errors import InfraError


class HubError(InfraError):
    """The Hub cannot be reached, or has no such repository, revision or file."""


def hub_snapshot(repo_id: str, revision: str, patterns: Sequence[str]) -> tuple[Path, str]:
    """Fetch matching files of a repository into the Hub's own cache.

    Args:
        repo_id: owner/name.
        revision: branch, tag or commit.
        patterns: globs of the files to fetch.

    Returns:
        The folder with the files, and the commit that ``revision`` stands for.

    Raises:
        HubError: network, name, revision, or a licence that was not accepted.
    """
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    disable_progress_bars()
    try:
        folder = snapshot_download(repo_id, revision=revision, allow_patterns=list(patterns))
    except (HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError) as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise HubError(
            f"cannot fetch {repo_id} at {revision} from the Hugging Face Hub ({said}); check the "
            "name, the network, HF_ENDPOINT and HF_TOKEN, or import a local folder instead."
        ) from error
    finally:
        enable_progress_bars()
    return Path(folder), Path(folder).name
