"""Whether the server that Prefect's settings name can be used, before it has to be."""

import httpx

from flows.prefect_api import REFUSED, PrefectApiError


def require_access() -> None:
    """Ask the server something that it tells nobody without a password.

    With Prefect's own client, for it alone knows all that its settings say of the way there.

    Raises:
        PrefectApiError: it does not answer, refuses, or is no Prefect server.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    try:
        with get_client(sync_client=True) as client:
            client.read_flows(limit=1)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in REFUSED:
            raise PrefectApiError(
                f"{url} refuses access (status {status}); set PREFECT_API_AUTH_STRING to "
                "NAME:PASSWORD of the server, or PREFECT_API_KEY."
            ) from None
        raise PrefectApiError(
            f"{url} answers with status {status}; look into its log, or correct PREFECT_API_URL, "
            "which ends in /api."
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PrefectApiError(
            f"no Prefect server answers at {url} ({type(error).__name__}); start it, or correct "
            "PREFECT_API_URL; `tokgraft run` and `compare` without that have a server of their own."
        ) from None
    except ValueError as error:  # no JSON, or JSON that is no list of flows
        raise PrefectApiError(
            f"what answers at {url} is no Prefect server ({type(error).__name__}); correct "
            "PREFECT_API_URL, which ends in /api."
        ) from None
