"""The key for pushes of an embedded deployment, and the settings of pushes."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from roomcast.push.vapid import Vapid, new_key
from roomcast.setting_values import SettingsError
from roomcast.settings import read_settings
from support.processes import Roomcast, run_roomcast


def test_an_embedded_server_keeps_its_key(tmp_path: Path) -> None:
    found = []
    file = tmp_path / "data" / "vapid.key"
    for _ in range(2):
        with Roomcast.up(tmp_path / "data", one_port=True) as server:
            found.append(httpx.get(f"{server.api_url}/api/config").json()["pushKey"])
    assert found[0] == found[1] == Vapid(file.read_text().strip(), None).public_key
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("no key\n")
    failed = run_roomcast("up", "--data", str(tmp_path / "data"), "--one-port", "--api-port", "0")
    assert failed.returncode != 0


def test_a_key_of_the_settings_is_checked() -> None:
    key = new_key()
    given = {
        "ROOMCAST_VAPID_KEY": f" {key} ",
        "ROOMCAST_VAPID_SUBJECT": "mailto:ops@example.com",
        "ROOMCAST_PUSH_NETWORKS": "10.0.0.0/8, fd00::/8",
        "ROOMCAST_PUSH_DELAY_S": "0",
    }
    push = read_settings(given).push
    assert (push.key, push.subject, push.delay_s) == (key, "mailto:ops@example.com", 0.0)
    assert [str(network) for network in push.rules.networks] == ["10.0.0.0/8", "fd00::/8"]
    assert key not in repr(push)
    for name, value in {
        "ROOMCAST_VAPID_KEY": "short",
        "ROOMCAST_VAPID_SUBJECT": "ops@example.com",
        "ROOMCAST_PUSH_NETWORKS": "10.0.0.1/8",
        "ROOMCAST_PUSH_DELAY_S": "-1",
    }.items():
        with pytest.raises(SettingsError, match=f"^{name}"):
            read_settings({**given, name: value})


def test_the_command_prints_a_key() -> None:
    printed = run_roomcast("vapid").stdout.strip()
    assert json.dumps(printed)
    Vapid(printed, None)
