"""Token buckets by hand."""

from infra.webhook.rate_limit import RateLimiter


def test_a_burst_and_then_the_rate():
    limiter = RateLimiter(per_second=0.5, burst=3)
    assert [limiter.take("a", 100.0) for _ in range(4)] == [0, 0, 0, 2]
    assert limiter.take("a", 101.0) == 1  # half a token is there
    assert limiter.take("a", 102.0) == 0
    assert limiter.take("a", 102.0) == 2


def test_a_bucket_holds_no_more_than_a_burst():
    limiter = RateLimiter(per_second=1.0, burst=2)
    assert [limiter.take("a", 0.0) for _ in range(3)] == [0, 0, 1]
    assert [limiter.take("a", 1e6) for _ in range(3)] == [0, 0, 1]


def test_clients_do_not_share_and_are_not_kept_for_ever():
    limiter = RateLimiter(per_second=1e-6, burst=1, max_clients=2)
    assert limiter.take("a", 0.0) == 0
    assert limiter.take("b", 0.0) == 0
    assert limiter.take("a", 0.0) > 0  # seen again: b is the least recent now
    assert limiter.take("c", 0.0) == 0
    assert limiter.take("a", 0.0) > 0
    assert limiter.take("b", 0.0) == 0  # was forgotten
