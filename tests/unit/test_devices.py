"""A device that was asked for is used or refused, never replaced."""

import pytest
import torch

from infra.devices import DeviceMissingError, torch_device, workers_on_gpu
from infra.parallel import map_shards
from infra.ray_connection import ClusterUnreachableError
from infra.settings import Settings, get_settings


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch):
    assert torch_device() == "cpu"
    monkeypatch.setenv("TOKGRAFT_DEVICE", "cuda")
    get_settings.cache_clear()
    with pytest.raises(DeviceMissingError, match="TOKGRAFT_DEVICE=cuda, but torch sees no GPU"):
        torch_device()


@pytest.mark.parametrize(
    ("asked", "n_gpus", "n_workers", "expected"),
    [("cpu", 8, 1, False), ("auto", 0, 4, False), ("auto", 4, 4, True), ("cuda", 1, 1, True)],
)
def test_workers_get_what_there_is(asked: str, n_gpus: float, n_workers: int, expected: bool):
    assert workers_on_gpu(asked, n_gpus, n_workers, may_grow=False) is expected


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_too_few_gpus_do_not_become_a_cpu(asked: str):
    with pytest.raises(DeviceMissingError, match="TOKGRAFT_WORLD_SIZE=8 workers need a GPU each"):
        workers_on_gpu(asked, 4, 8, may_grow=False)
    assert workers_on_gpu("cuda", 4, 8, may_grow=True)


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:9", "ray://127.0.0.1:9"])
def test_an_address_without_a_cluster_is_one_clear_line(address: str):
    with pytest.raises(ClusterUnreachableError, match=f"_ADDRESS={address} leads to no") as caught:
        list(map_shards(abs, [1], Settings(ray_address=address)))
    assert "\n" not in str(caught.value)
