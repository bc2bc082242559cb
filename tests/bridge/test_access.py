"""Who may call the HTTP bridge: tokens, host names, origins."""

from __future__ import annotations

import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from asyncmcp_kombu import Settings
from asyncmcp_kombu.bridge.hosts import is_loopback, protection
from tests.bridge.far import served
from tests.bridge.http import SOON, browserless, headers, http_bridge, request

pytestmark = pytest.mark.anyio

CALL = request("tools/list")


async def test_without_the_token_everything_is_401(memory: Settings) -> None:
    given = [None, "Bearer wrong", "Bearer", "Basic dDBrZW4=", "t0ken-2", "Bearer t0ken-", "bearer T0KEN-2"]
    async with http_bridge(memory, token="t0ken-2") as url, browserless() as client:
        for value in given:
            authorization = {} if value is None else {"Authorization": value}
            for method in ("GET", "POST", "DELETE"):
                answer = await client.request(method, url, json=CALL, headers=headers(CALL, **authorization))
                assert answer.status_code == 401, (value, method)
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert "t0ken-2" not in answer.text


async def test_with_the_token_the_far_side_answers(memory: Settings) -> None:
    async with served(memory), http_bridge(memory, token="t0ken-2") as url, browserless() as client:
        client.headers["Authorization"] = "Bearer t0ken-2"
        async with Client(streamable_http_client(url, http_client=client), read_timeout_seconds=SOON) as one:
            assert (await one.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}


@pytest.mark.parametrize("era", [{"MCP-Protocol-Version": "2026-07-28"}, {"MCP-Protocol-Version": "2025-11-25"}])
async def test_a_foreign_host_or_origin_is_refused(memory: Settings, era: dict[str, str]) -> None:
    async with http_bridge(memory) as url, browserless() as client:
        for bad in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example:8080"):
            answer = await client.post(url, json=CALL, headers={**headers(CALL), **era, "Host": bad})
            assert answer.status_code == 421
        for bad in ("http://evil.example", "null", "http://localhost:1", "https://127.0.0.1"):
            answer = await client.post(url, json=CALL, headers={**headers(CALL), **era, "Origin": bad})
            assert answer.status_code == 403


async def test_names_of_this_machine_are_accepted(memory: Settings) -> None:
    async with served(memory), http_bridge(memory) as url, browserless() as client:
        port = url.split(":")[2].split("/")[0]
        for good in (f"localhost:{port}", "127.0.0.1:9999", "[::1]:80", "localhost"):
            answer = await client.post(url, json=CALL, headers=headers(CALL, Host=good))
            assert answer.status_code == 200, good
        answer = await client.post(url, json=CALL, headers=headers(CALL, Origin=f"http://localhost:{port}"))
        assert answer.status_code == 200


async def test_a_web_page_of_an_allowed_origin_may_call(memory: Settings) -> None:
    origin = "http://localhost:6274"
    async with served(memory), http_bridge(memory, origins=(origin,), token="t0ken-2") as url, browserless() as client:
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, mcp-method, mcp-param-x",
        }
        beforehand = await client.options(url, headers=asked)
        assert beforehand.status_code == 200
        assert beforehand.headers["access-control-allow-origin"] == origin
        assert "mcp-param-x" in beforehand.headers["access-control-allow-headers"]
        given = headers(CALL, Origin=origin, Authorization="Bearer t0ken-2")
        answer = await client.post(url, json=CALL, headers=given)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == origin
        stranger = await client.options(url, headers={**asked, "Origin": "http://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers


async def test_another_path_is_not_found(memory: Settings) -> None:
    async with http_bridge(memory) as url, browserless() as client:
        assert (await client.post(url.replace("/mcp", "/"), json=CALL, headers=headers(CALL))).status_code == 404


def test_which_addresses_are_loopback() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.1.2.3", "::1", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "192.168.0.1", "example.org", "localhost.example.org", ""]))


def test_a_further_name_is_allowed_with_any_port_unless_it_names_one() -> None:
    allowed = protection("10.0.0.5", 8080, hosts=["mcp.example.org", "other.example.org:8443", "[fe80::1]"])
    assert {"mcp.example.org", "mcp.example.org:*", "10.0.0.5:*", "[fe80::1]:*"} <= set(allowed.allowed_hosts)
    assert "other.example.org:8443" in allowed.allowed_hosts
    assert not any(name.startswith("other") and "*" in name for name in allowed.allowed_hosts)
    assert allowed.enable_dns_rebinding_protection
