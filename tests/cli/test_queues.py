"""`asyncmcp-kombu queues list` and `queues prune` as a person uses them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.broker.prune import ABANDONED_AFTER
from asyncmcp_kombu.cli.main import app
from asyncmcp_kombu.cli.queues import seconds
from asyncmcp_kombu.topology import EVERYONE, Topology, new_client_id
from tests.brokers.driver import Arrivals, Driver, numbered
from tests.brokers.pruning import HOUR, owner
from tests.cli.test_commands import cli
from tests.fleet.conftest import broker_urls  # noqa: F401  fixture
from tests.services import free_port


def here(*args: str, env: dict[str, str] | None = None) -> Result:
    """The command in this process: a process of its own takes a second to start."""
    return CliRunner().invoke(app, ["queues", *args], env={"COLUMNS": "200", "NO_COLOR": "1", **(env or {})})


@pytest.fixture(params=["sqs", "redis"])
def driver(request: pytest.FixtureRequest, broker_urls: Callable[[str], str], prefix: str) -> Iterator[Driver]:  # noqa: F811
    driver = Driver(broker_urls(request.param), prefix)
    yield driver
    driver.close()


@pytest.fixture
def env(driver: Driver) -> dict[str, str]:
    return {"ASYNCMCP_BROKER_URL": driver.url, "ASYNCMCP_PREFIX": driver.prefix, "COLUMNS": "80"}


def test_list_shows_each_queue_with_its_owner_and_prune_deletes_the_abandoned(driver: Driver, env: dict[str, str]):
    topology = Topology("workers", driver.prefix)
    living, dead, exchange = topology.reply(new_client_id()), topology.reply(new_client_id()), driver.exchange()
    driver.send(driver.queue(), *(numbered(n) for n in range(3)))
    with owner(driver, dead, [exchange], last_word=5 * HOUR):
        pass
    arrivals = Arrivals()
    queue = driver.reply_queue("x")
    queue.name = living
    driver.inbox(queue, arrivals, temporary=True, bindings=[Binding(exchange, EVERYONE)])

    listed = cli("queues", "list", env=env)
    assert listed.returncode == 0, listed.stderr
    rows = {line.split()[0]: line.split()[1:] for line in listed.stdout.splitlines() if line.strip()}
    assert rows[topology.requests] == ["requests", "3"]
    assert rows[dead] == ["reply", "0", "5h", "ago,", "abandoned"]
    assert rows[living] == ["reply", "0", "now"]
    assert "queues prune" in listed.stdout

    as_json = {info["name"]: info for info in json.loads(here("list", "--json", env=env).stdout)}
    assert as_json[dead]["abandoned"] is True
    assert abs(time.time() - 5 * HOUR - as_json[dead]["last_seen"]) < 120
    assert as_json[topology.requests]["last_seen"] is None

    assert "Nothing is abandoned." in here("prune", "--older-than", "1d", env=env).stdout
    tried = here("prune", "--dry-run", env=env)
    assert tried.stdout.splitlines() == [dead, "1 would be deleted."]
    pruned = cli("queues", "prune", env=env)
    assert (pruned.returncode, pruned.stdout.splitlines()) == (0, [dead, "1 deleted."]), pruned.stderr
    assert dead not in here("list", env=env).stdout
    driver.announce(exchange, numbered(1, audience=EVERYONE))
    arrivals.next()


def test_a_server_without_queues_is_asked_about(env: dict[str, str]):
    listed = here("list", "--server", "nobody", env=env)
    assert listed.exit_code == 0
    assert "'nobody'" in listed.stdout
    assert json.loads(here("list", "--server", "nobody", "--json", env=env).stdout) == []


@pytest.mark.parametrize("command", ["list", "prune"])
@pytest.mark.parametrize("scheme", ["sqs", "amqp", "redis"])
def test_no_broker_exits_with_3_and_one_line_without_the_password(scheme: str, command: str):
    url = f"{scheme}://user:s3cret@127.0.0.1:{free_port()}"
    called = here(command, env={"ASYNCMCP_BROKER_URL": url})
    assert called.exit_code == 3, called.stderr
    assert "ASYNCMCP_BROKER_URL" in called.stderr
    assert "s3cret" not in called.stderr + called.stdout
    assert "Traceback" not in called.stderr


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("prune", "--older-than", "soon"), "7d"),
        (("prune", "--older-than", "-1h"), "7d"),
        (("list", "--server", "no spaces"), "no spaces"),
        (("list", "--broker-url", "kafka://x"), "kafka"),
        (("no-such-command",), "no-such-command"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_right(args: tuple[str, ...], word: str):
    called = here(*args)
    assert called.exit_code == 2
    assert word in called.stderr
    assert "Traceback" not in called.stderr


@pytest.mark.parametrize("args", [(), ("list", "--help"), ("prune", "--help")])
def test_help_teaches(args: tuple[str, ...]):
    assert len(here(*args).output.splitlines()) > 8


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("1.5m", 90), ("1h", 3600), ("7d", 604_800), (" 2h ", 7200)]
)
def test_times_are_written_with_their_unit(text: str, expected: float):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "h", "1w", "1 h", "-1", "1e9", "nan"])
def test_anything_else_is_no_time(text: str):
    with pytest.raises(typer.BadParameter, match="30m"):
        seconds(text)


def test_the_default_is_when_list_calls_a_queue_abandoned():
    assert seconds("1h") == ABANDONED_AFTER
