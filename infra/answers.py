"""Whether a server answers: the health check of images that have no curl.

python -m infra.answers URL
"""

import sys
import urllib.request

_SECONDS = 5.0


def answers(url: str) -> bool:
    """Whether a GET is answered with success, by the server itself and no proxy.

    Args:
        url: of a loopback address.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=_SECONDS) as answer:
            return 200 <= answer.status < 300
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if answers(sys.argv[1]) else 1)
