"""The metrics of a process."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families


async def metrics(port: int) -> dict[tuple[str, ...], float]:
    """Every sample of the process with that internal port, by name and label values."""
    # Loading the certificate authorities would take longer than the request.
    async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - loopback
        answer = await client.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
