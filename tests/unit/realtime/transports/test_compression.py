from __future__ import annotations

import zlib

import pytest

from roomcast.realtime.transports.compression import compress, encoding_for


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br", "gzip"),
        ("deflate;q=1, GZIP;q=0.5", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip; q=0.0", None),
        ("*", "gzip"),
        ("gzip;q=0, *", "deflate"),
        ("*;q=0", None),
        ("identity", None),
        ("br", None),
        ("", None),
        (";;,,=;q", None),
    ],
)
def test_the_encoding_is_one_that_the_client_accepts(accepted: str, encoding: str | None) -> None:
    assert encoding_for(accepted) == encoding


@pytest.mark.parametrize("size", [1_000, 100_000])
@pytest.mark.parametrize(("encoding", "window_bits"), [("gzip", 31), ("deflate", 15)])
async def test_a_body_is_the_same_after_compression(encoding: str, window_bits: int, size: int) -> None:
    body = bytes(range(256)) * (size // 256)
    assert zlib.decompress(await compress(body, encoding), window_bits) == body
