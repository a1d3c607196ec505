"""Which files of a dataset on the Hugging Face Hub hold a split, and what they hash to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.hub import DATASETS, HubError, hub_file
from infra.keys import file_sha256

_PATHS_A_CALL = 500


@dataclass(frozen=True)
class HubFile:
    """One file at one commit."""

    path: str
    """Inside the repository."""
    uri: str
    """``hub:datasets/owner/name@commit/path``, which ``fetch`` takes."""
    n_bytes: int
    sha256: str
    """Kept by the Hub beside large files; small ones are fetched for it."""


def split_files(
    repo_id: str, revision: str, subset: str | None, split: str, max_files: int | None
) -> list[HubFile]:
    """Files of one split in the order of their names, as the ``datasets`` library resolves it.

    Args:
        repo_id: owner/name.
        revision: branch, tag or commit.
        subset: also called configuration; None is the dataset's default one.
        split: its name.
        max_files: take the first ones only.

    Raises:
        HubError: network, name, revision, subset or split; or data that is not in plain files.
    """
    import httpx2
    from datasets import disable_progress_bars, load_dataset_builder
    from datasets.exceptions import DatasetsError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    disable_progress_bars()
    asked = f"dataset {repo_id} at {revision}"
    try:
        builder = load_dataset_builder(repo_id, subset, revision=revision)
        of_splits = builder.config.data_files or {}
        if split not in of_splits:
            raise HubError(
                f"{asked} has no split {split!r} (found {', '.join(map(str, of_splits)) or 'none'}"
                "); set the source's split, or its subset."
            )
        commit, paths = _at_one_commit(of_splits[split], repo_id)
        chosen = sorted(paths)[:max_files]
        found = [
            file
            for start in range(0, len(chosen), _PATHS_A_CALL)
            for file in HfApi().get_paths_info(
                repo_id,
                chosen[start : start + _PATHS_A_CALL],
                revision=commit,
                repo_type="dataset",
            )
        ]
    except (HfHubHTTPError, httpx2.HTTPError, DatasetsError, OSError, ValueError) as error:
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise HubError(
            f"{asked} cannot be listed on the Hugging Face Hub ({said}); check the name, its "
            "subset, the network, HF_ENDPOINT and HF_TOKEN, or give files of it as kind: files."
        ) from error
    repository, of_path = f"{DATASETS}{repo_id}", {file.path: file for file in found}
    return [_locked(repository, commit, of_path[path]) for path in chosen]


def _locked(repository: str, commit: str, file: Any) -> HubFile:
    """One file by what the Hub tells of it."""
    if file.lfs is None:
        sha256 = file_sha256(hub_file(repository, commit, file.path))
    else:
        sha256 = file.lfs.sha256
    return HubFile(file.path, f"hub:{repository}@{commit}/{file.path}", file.size, sha256)


def _at_one_commit(addresses: Sequence[str], repo_id: str) -> tuple[str, list[str]]:
    """The commit of ``hf://datasets/owner/name@commit/path`` addresses, and their paths."""
    prefix = f"hf://datasets/{repo_id}@"
    if not addresses or not all(address.startswith(prefix) for address in addresses):
        raise HubError(
            f"dataset {repo_id} keeps data outside its repository ({list(addresses)[:3]}); "
            "download it and give it as kind: files."
        )
    parts = [address.removeprefix(prefix).partition("/") for address in addresses]
    return parts[0][0], [path for _, _, path in parts]
