"""Everything that runs are started from, in one process tree: server, worker, webhook."""

import contextlib
import signal
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from types import FrameType
from urllib.parse import urlsplit

from flows.prefect_process import reach_directly
from flows.up_parts import DEPLOYMENTS, Parts
from flows.up_place import Place, check_place, make_home, taken_webhook_secrets
from flows.up_state import check_port, sole_owner
from infra.process_tree import adopt_orphans, bury_orphans
from infra.settings import WEBHOOK_SECRET


def up(place: Place, say: Callable[[str, str], None]) -> None:
    """Start all, and work until SIGTERM or Ctrl-C.

    Args:
        place: where.
        say: tells a person what is where: a name and an address.

    Raises:
        AlreadyUpError: there is one already.
        PortTakenError: somebody else has one of its ports.
        OpenServerError: it would be open to others.
        UpError: a part did not start, or ended by itself.
        RunConfigError: a file of schedules, or an allow-list, is wrong.
        SigningKeyError: webhooks have no secret.
    """
    check_place(place)
    home = make_home()
    # Signals become an exception at once, so that a start of half a minute can be broken off too.
    with _until_told_to_end(), ExitStack() as stack:
        stack.enter_context(sole_owner(home, place.url))
        check_port(place.host, place.port, place.url)
        if (hook := place.receiver) is not None:
            check_port(hook.host, hook.port, hook.url, "--webhook-port")
        reach_directly(urlsplit(place.url).hostname or place.host)
        adopt_orphans()
        parts = Parts(place, home, taken_webhook_secrets())
        stack.callback(parts.end)
        parts.start()
        say("Prefect", place.url)
        say("API", f"{place.url}/api")
        off = f"off: {WEBHOOK_SECRET} and webhook/allow_list.yaml beside the run files start it"
        say("webhook", off if hook is None else hook.url)
        say("runs", f"{', '.join(DEPLOYMENTS)}, with the files of {place.configs}")
        say("records", place.records or str(home))
        say("logs", ", ".join(map(str, parts.logs)))
        while True:
            parts.check()
            bury_orphans([process.pid for process in parts.processes.values()])
            time.sleep(0.5)


@contextmanager
def _until_told_to_end() -> Generator[None]:
    def told(number: int, frame: FrameType | None) -> None:
        # Once: what follows is the end, which a second Ctrl-C must not break off.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    with contextlib.suppress(KeyboardInterrupt):
        yield
