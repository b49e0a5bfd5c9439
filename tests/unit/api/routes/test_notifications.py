"""What notifies users, and their devices, over REST."""

from __future__ import annotations

from pathlib import Path

from roomcast.chat.notifications.endpoints import EndpointRules
from support.api_client import bearer, open_api, problem
from support.push_service import Device

ANN, EVE, SERVICE = bearer("ann"), bearer("eve"), bearer("crm", service=True)
PATH = "/api/chats/c/notifications"


async def test_a_member_changes_what_notifies_it_and_the_list_of_chats_says_it(tmp_path: Path) -> None:
    async with open_api(tmp_path, auth=True) as (client, _backend):
        await client.post("/api/chats", json={"id": "c", "members": ["ann"]}, headers=SERVICE)
        assert (await client.get(PATH, headers=ANN)).json() == {"level": "default", "mutedUntil": None}
        changed = await client.patch(PATH, json={"level": "mentions", "mutedFor": 3600}, headers=ANN)
        assert changed.json()["level"] == "mentions"
        assert (await client.get(PATH, headers=ANN)).json() == changed.json()
        assert (await client.get("/api/chats/c", headers=ANN)).json()["notify"] == "none"
        ended = await client.patch(PATH, json={"mutedFor": 0}, headers=ANN)
        assert ended.json() == {"level": "mentions", "mutedUntil": None}
        assert (await client.get("/api/chats", headers=ANN)).json()["chats"][0]["notify"] == "mentions"
        await client.patch(PATH, json={"level": "default"}, headers=ANN)
        assert "notify" not in (await client.get("/api/chats/c", headers=ANN)).json()
        assert (await client.get("/api/notifications", headers=ANN)).json() == {"level": "all"}
        assert (await client.put("/api/notifications", json={"level": "none"}, headers=ANN)).status_code == 204
        assert (await client.get("/api/notifications", headers=ANN)).json() == {"level": "none"}
        assert (await client.get("/api/chats/c", headers=ANN)).json()["notify"] == "none"


async def test_settings_are_those_of_the_caller_in_its_chats(tmp_path: Path) -> None:
    async with open_api(tmp_path, auth=True) as (client, _backend):
        await client.post("/api/chats", json={"id": "c", "members": ["ann"]}, headers=SERVICE)
        for path in (PATH, "/api/chats/unknown/notifications"):
            for refused in (await client.get(path, headers=EVE), await client.patch(path, json={}, headers=EVE)):
                assert problem(refused)["code"] == "chat-not-found"
        for refused in (
            await client.get(PATH, params={"userId": "ann"}, headers=EVE),
            await client.get(PATH, headers=SERVICE),
            await client.put("/api/notifications", json={"level": "all"}, headers=SERVICE),
        ):
            assert problem(refused)["code"] == "forbidden"
        of_ann = {"userId": "ann"}
        assert (await client.patch(PATH, json={"level": "none"}, params=of_ann, headers=SERVICE)).status_code == 200
        assert (await client.get(PATH, headers=ANN)).json()["level"] == "none"
        for body in ({"level": "some"}, {"mutedFor": -1}, {"mutedFor": 10**9}, {"unknown": 1}):
            assert (await client.patch(PATH, json=body, headers=ANN)).status_code == 422


async def test_a_device_is_added_and_removed_by_its_user(tmp_path: Path) -> None:
    device = Device("https://push.example/1")
    path = "/api/push/devices"
    async with open_api(tmp_path, auth=True, push=EndpointRules()) as (client, backend):
        for _ in range(2):
            assert (await client.put(path, json=device.subscription(), headers=ANN)).status_code == 204
        assert (await backend.store.pushes.push_state()).has_devices
        query = {"endpoint": device.endpoint}
        assert (await client.delete(path, params=query, headers=EVE)).status_code == 204
        assert (await backend.store.pushes.push_state()).has_devices
        assert (await client.delete(path, params=query, headers=ANN)).status_code == 204
        assert not (await backend.store.pushes.push_state()).has_devices
        local = {**device.subscription(), "endpoint": "https://127.0.0.1/1"}
        assert "public address" in problem(await client.put(path, json=local, headers=ANN))["detail"]
        short = {**device.subscription(), "keys": {"p256dh": "AAAA", "auth": "AAAA"}}
        assert (await client.put(path, json=short, headers=ANN)).status_code == 422
        assert problem(await client.put(path, json=device.subscription(), headers=SERVICE))["code"] == "forbidden"


async def test_a_server_without_a_key_refuses_devices(tmp_path: Path) -> None:
    async with open_api(tmp_path) as (client, _backend):
        refused = await client.put(
            "/api/push/devices", json=Device("https://push.example/1").subscription(), params={"userId": "ann"}
        )
        assert "ROOMCAST_VAPID_KEY" in problem(refused)["detail"]
        assert "pushKey" not in (await client.get("/api/config")).json()
