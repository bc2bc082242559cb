"""README.md and docs/tools.md: their examples are run as they stand."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client

from asyncmcp_kombu import Settings, kombu_client
from tests.fleet.native import worker_process
from tests.services import cleanup_queues, new_prefix
from tests.sqs.aws import Aws

ROOT = Path(__file__).parents[2]


def code_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)


def test_the_readmes_tool_and_client(sqs_url: str, tmp_path: Path) -> None:
    tool, client = code_of("README.md")
    (tmp_path / "shop.py").write_text(tool)
    (tmp_path / "client.py").write_text(client)
    prefix = new_prefix()
    env = {"ASYNCMCP_BROKER_URL": sqs_url, "ASYNCMCP_PREFIX": prefix, "PYTHONPATH": str(tmp_path)}
    worker = worker_process("shop", env, name=prefix, concurrency=1)
    try:
        worker.ready()
        done = subprocess.run(
            [sys.executable, str(tmp_path / "client.py")],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.strip() == "{'result': 9.0}", done.stderr
        for args, expected in ((["tools"], "price"), (["call", "price", '{"article": "pen"}'], "4.5")):
            shell = subprocess.run(
                [sys.executable, "-m", "asyncmcp_kombu.cli.main", *args, "--server", "shop"],
                env={**os.environ, **env},
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert expected in shell.stdout, shell.stderr
    finally:
        worker.teardown()
        cleanup_queues(sqs_url, prefix)


def test_the_tools_of_the_tools_page(sqs_url: str, tmp_path: Path) -> None:
    (tmp_path / "docs_app.py").write_text("\n".join(code_of("docs/tools.md")))
    settings = Settings(broker_url=sqs_url, prefix=new_prefix(), server="docs")
    env = {"ASYNCMCP_BROKER_URL": sqs_url, "ASYNCMCP_PREFIX": settings.prefix, "PYTHONPATH": str(tmp_path)}
    worker = worker_process("docs_app", env, name=settings.prefix, concurrency=1)

    async def calls() -> None:
        async with Client(kombu_client(settings=settings), read_timeout_seconds=20) as client:
            assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
            assert (await client.call_tool("shout", {"text": "hi"})).structured_content == {"result": "HI"}
            mirrored = await client.call_tool("mirror", {"points": [{"x": 1, "y": 2}]})
            assert mirrored.structured_content == {"result": [{"x": -1, "y": -2}]}
            assert (await client.call_tool("docs_app.multiply", {"a": 6, "b": 7})).structured_content == {"result": 42}
            for tool in ("download", "download_sync"):
                assert (await client.call_tool(tool, {"parts": 2})).structured_content == {"result": "complete"}

    try:
        worker.ready()
        anyio.run(calls)
    finally:
        worker.teardown()
        cleanup_queues(sqs_url, settings.prefix)


@pytest.mark.parametrize(("example", "mode"), [(0, "auto"), (0, "legacy"), (1, "auto")])
def test_the_servers_of_the_serve_page(sqs_url: str, tmp_path: Path, example: int, mode: str) -> None:
    (tmp_path / "notes.py").write_text(code_of("docs/serve.md")[example])
    settings = Settings(broker_url=sqs_url, prefix=new_prefix(), server="notes")
    env = {**os.environ, "ASYNCMCP_BROKER_URL": sqs_url, "ASYNCMCP_PREFIX": settings.prefix}
    process = subprocess.Popen([sys.executable, str(tmp_path / "notes.py")], env=env)

    async def call() -> None:
        async with Client(kombu_client(settings=settings), read_timeout_seconds=20, mode=mode) as client:
            assert client.server_info is not None and client.server_info.name == "notes"
            if example == 0:
                assert (await client.call_tool("shout", {"text": "hi"})).structured_content == {"result": "HI"}

    try:
        anyio.run(call)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)
        cleanup_queues(sqs_url, settings.prefix)


def test_the_tools_of_the_protocol_page(sqs_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, *tools = code_of("docs/protocol.md")
    exec(compile(key, "protocol.md", "exec"), {})
    app = "from celery import Celery\nfrom asyncmcp_kombu import serve_mcp\napp = Celery('docs')\nserve_mcp(app)\n"
    (tmp_path / "protocol_app.py").write_text("\n".join([app, *tools]))
    settings = Settings(broker_url=sqs_url, prefix=new_prefix(), server="docs")
    env = {
        "ASYNCMCP_BROKER_URL": sqs_url,
        "ASYNCMCP_PREFIX": settings.prefix,
        "ASYNCMCP_SECRET_KEY": capsys.readouterr().out.strip(),
        "PYTHONPATH": str(tmp_path),
    }
    worker = worker_process("protocol_app", env, name=settings.prefix, concurrency=1)

    async def calls() -> None:
        async with Client(kombu_client(settings=settings), read_timeout_seconds=20) as client:
            assert (await client.call_tool("crunch", {"rounds": 2})).structured_content == {"result": "crunched"}
            with anyio.move_on_after(0.5):
                await client.call_tool("crunch", {"rounds": 100_000})
            with anyio.fail_after(20):
                async with client.listen(resource_subscriptions=["note://a"]) as events:
                    await client.call_tool("write_note", {"name": "a"})
                    assert "note://a" in str(await anext(events))

    try:
        worker.ready()
        anyio.run(calls)
    finally:
        worker.teardown()
        cleanup_queues(sqs_url, settings.prefix)


def test_the_code_of_the_page_on_queues_by_url(sqs_url: str, tmp_path: Path) -> None:
    server, client, topics = code_of("docs/sqs.md")
    exec(compile(topics, "sqs.md", "exec"), {})
    aws = Aws(sqs_url)
    requests, responses = aws.queue("requests"), aws.queue("responses")
    env = {**aws.env, "REQUESTS_URL": requests, "RESPONSES_URL": responses}
    (tmp_path / "server.py").write_text(server)
    (tmp_path / "client.py").write_text(client)
    process = subprocess.Popen([sys.executable, str(tmp_path / "server.py")], env=env)
    try:
        done = subprocess.run(
            [sys.executable, str(tmp_path / "client.py")], env=env, capture_output=True, text=True, timeout=60
        )
        assert done.stdout == "HI\n", done.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)
        aws.cleanup()


def test_the_imports_of_the_page_on_asyncmcp() -> None:
    page = (ROOT / "docs/from-asyncmcp.md").read_text()
    imports = [code for code in re.findall(r"`(from asyncmcp_kombu[^`]+)`", page)]
    assert len(imports) == 4
    for code in imports:
        exec(compile(code, "from-asyncmcp.md", "exec"), {})


def test_the_embedded_sqs_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = code_of("docs/local.md")
    exec(compile(example, "local.md", "exec"), {})
    assert capsys.readouterr().out.startswith("sqs://local:local@127.0.0.1:")


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    here = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        if "://" not in target:
            assert (here / target).exists(), target
