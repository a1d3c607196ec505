"""Work over shards: same order and results whatever the number of processes."""

import math
import operator
import os

import pytest

from infra.parallel import WorkerLostError, map_shards
from infra.settings import Settings


@pytest.mark.parametrize("in_threads", [False, True])
@pytest.mark.parametrize("n_processes", [1, 2])
def test_results_keep_the_order_of_the_shards(n_processes, in_threads):
    settings = Settings(n_processes=n_processes)
    found = map_shards(operator.neg, range(5), settings, in_threads=in_threads)
    assert list(found) == [0, -1, -2, -3, -4]


def test_no_shards_is_no_result():
    assert list(map_shards(operator.neg, [])) == []


def test_an_error_in_a_process_reaches_the_caller():
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        list(map_shards(math.sqrt, [1, -2, 3], Settings(n_processes=2)))


def test_a_killed_process_is_one_clear_line():
    with pytest.raises(WorkerLostError, match="TOKGRAFT_N_PROCESSES"):
        list(map_shards(os._exit, [9, 9], Settings(n_processes=2)))
