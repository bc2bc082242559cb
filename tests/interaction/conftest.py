"""Every test that connects runs on every place: broker x host x era, and on the SDK's own transport beside them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests.interaction.connect import Connect, Place
from tests.interaction.deployments import Deployment, deploy
from tests.interaction.spec import BROKERS, ERAS

HERE = Path(__file__).parent
HOSTS = ("sdk", "single")
"""Where a module runs that does not say it in a variable of this name; test_on_fleets.py does."""
PLACES = [
    *(Place("sdk", era) for era in ERAS),
    *(Place(host, era, broker) for broker in BROKERS for host in ("single", "fleet") for era in ERAS),
]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(where, sentence, era): what a test proves")
    config.addinivalue_line("markers", "runs_on(why, …): a test that runs on fewer places")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        metafunc.parametrize("place", list(_places(metafunc.definition)), ids=str, indirect=True)


def _places(test: pytest.Item) -> Iterable[Place]:
    eras = {mark.kwargs["era"] for mark in test.iter_markers("requirement")} - {None} or set(ERAS)
    limits = [mark.kwargs for mark in test.iter_markers("runs_on")]
    hosts = getattr(getattr(test, "module", None), "HOSTS", HOSTS)
    for place in PLACES:
        if place.era in eras and place.host in hosts and all(_within(place, limit) for limit in limits):
            yield place


def _within(place: Place, limit: dict[str, Any]) -> bool:
    brokers = limit["fleets"] if place.host == "fleet" else limit["brokers"]
    on_broker = place.broker is None or (place.broker in brokers and place.broker in limit["brokers"])
    return on_broker and place.host in limit["hosts"] and place.era in limit["eras"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is deprecated is tested, too."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"))


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    return request.param


@pytest.fixture
def anyio_backend(place: Place) -> str:
    """Clients run on trio where that costs nothing."""
    return "trio" if (place.host, place.broker) == ("single", "memory") else "asyncio"


@pytest.fixture(scope="session")
def brokers(sqs_url: str) -> Callable[[str], str]:
    """The URL of a broker; skips or fails when it is not there."""
    return lambda broker: {
        "memory": lambda: services.MEMORY_URL,
        "sqs": lambda: sqs_url,
        "rabbitmq": services.amqp_url,
        "redis": services.redis_url,
    }[broker]()


@pytest.fixture(scope="session")
def deployed(brokers: Callable[[str], str]) -> Generator[Callable[[Place], Deployment]]:
    """Deployments that stay until the tests end: a worker takes seconds to start."""
    yield from _deployments(brokers)


@pytest.fixture(scope="module")
def deployed_here(brokers: Callable[[str], str]) -> Generator[Callable[[Place], Deployment]]:
    """Deployments of one module: Celery can stop the workers in this process only all at once."""
    yield from _deployments(brokers)


def _deployments(brokers: Callable[[str], str]) -> Generator[Callable[[Place], Deployment]]:
    running: dict[tuple[str, str], Deployment] = {}
    failed: dict[tuple[str, str], Exception] = {}  # not tried again for each of the tests that want it

    def deployment(place: Place) -> Deployment:
        assert place.broker is not None
        key = place.broker, place.host
        if key in failed:
            raise failed[key]
        if key not in running:
            url = brokers(place.broker)
            try:
                running[key] = deploy(place.host, url)
            except Exception as error:
                failed[key] = error
                raise
        return running[key]

    yield deployment
    for one in running.values():
        one.begin_to_close()
    with ThreadPoolExecutor() as at_once:
        list(at_once.map(lambda one: one.close(), running.values()))


@pytest.fixture
def connect(
    place: Place, deployed: Callable[[Place], Deployment], deployed_here: Callable[[Place], Deployment]
) -> Connect:
    """Connects clients to the servers, which many tests share."""
    if place.broker is None:
        return Connect(place, None)
    in_process_workers = (place.host, place.broker) == ("fleet", "memory")
    return Connect(place, (deployed_here if in_process_workers else deployed)(place))
