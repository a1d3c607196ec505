"""Whether Ray starts here, or the cluster that settings name answers."""

from infra.doctor.finding import Finding
from infra.errors import InfraError
from infra.ray_connection import connected
from infra.settings import Settings


def check_ray(settings: Settings) -> Finding:
    """Start or join, and count what there is."""
    import ray

    try:
        with connected(settings):
            has = ray.cluster_resources()
    except (InfraError, OSError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        remedy = "free memory and ports, or look into /tmp/ray/session_latest/logs"
        return Finding("fail", "ray", said, "" if isinstance(error, InfraError) else remedy)
    where = settings.ray_address or "one of this machine's own"
    said = f"{ray.__version__}, {where}: {has.get('CPU', 0):g} CPUs, {has.get('GPU', 0):g} GPUs"
    if has.get("CPU", 0) < settings.world_size:
        remedy = "training will wait for more nodes; add some, or set TOKGRAFT_WORLD_SIZE lower"
        return Finding("warn", "ray", said, remedy)
    return Finding("ok", "ray", said)
