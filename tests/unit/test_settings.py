"""One spelling for argument and variable; values out of range are refused; a password is never shown."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr, ValidationError

from asyncmcp_kombu.broker.connection import connect, scheme_of, transport_options
from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.settings import EMBEDDED_BROKER_URL, Settings, redacted

FIELDS = {
    "broker_url": "amqp://user:secret@host//",
    "server": "tools",
    "prefix": "p-",
    "visibility_timeout": "60",
    "wait_time": "5",
    "max_message_bytes": "2048",
    "max_attempts": "1",
    "max_receives": "7",
    "dedupe": "always",
    "outcome_ttl": "60.0",
    "publish_retry": "0.5",
    "durable_retention": "86400",
    "task_ttl": "60.0",
    "task_poll_interval": "0.5",
    "task_inline_budget": "2.0",
    "task_fallback": "wait",
    "task_wait_budget": "3.0",
    "result_backend": "redis://localhost/1",
    "secret_key": "0123456789abcdef0123456789abcdef",
    "previous_secret_keys": '["fedcba9876543210fedcba9876543210"]',
}


def plain(value):
    if isinstance(value, list):
        return json.dumps([plain(item) for item in value])
    return value.get_secret_value() if isinstance(value, SecretStr) else value


@pytest.mark.parametrize(("field", "text"), FIELDS.items())
def test_every_field_comes_from_its_variable(monkeypatch, field, text):
    monkeypatch.setenv(f"ASYNCMCP_{field.upper()}", text)
    assert str(plain(getattr(Settings(), field))) == text


def test_the_table_above_names_every_field():
    assert FIELDS.keys() <= Settings.model_fields.keys()
    assert Settings.model_fields.keys() <= FIELDS.keys(), "add the new field to FIELDS"


def test_an_argument_wins_over_the_variable(monkeypatch):
    monkeypatch.setenv("ASYNCMCP_SERVER", "from-variable")
    assert Settings(server="from-argument").server == "from-argument"


def test_with_nothing_set_the_embedded_broker_is_meant():
    settings = Settings()
    assert settings.broker_url.get_secret_value() == EMBEDDED_BROKER_URL == "sqs://local:local@127.0.0.1:4566"
    assert (settings.server, settings.prefix) == ("workers", "asyncmcp-")


def test_a_variable_of_somebody_else_is_no_error(monkeypatch):
    monkeypatch.setenv("ASYNCMCP_COLOUR", "red")
    Settings()


@pytest.mark.parametrize(
    ("field", "refused", "accepted"),
    [
        ("visibility_timeout", 1, 2),
        ("visibility_timeout", 43_201, 43_200),
        ("wait_time", 0, 1),
        ("wait_time", 21, 20),
        ("max_message_bytes", 1_023, 1_024),
        ("max_attempts", 0, 1),
        ("max_receives", 0, 1),
        ("max_receives", 501, 500),
        ("outcome_ttl", 0, 1),
        ("publish_retry", 0, 0.1),
        ("visibility_timeout", "soon", "30"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(monkeypatch, field, refused, accepted):
    monkeypatch.setenv(f"ASYNCMCP_{field.upper()}", str(refused))
    with pytest.raises(ValidationError, match=field):
        Settings()
    monkeypatch.setenv(f"ASYNCMCP_{field.upper()}", str(accepted))
    Settings()


def test_the_password_is_shown_by_neither_repr_nor_dump():
    settings = Settings(broker_url=SecretStr("amqp://user:hunter2@host//"))
    assert "hunter2" not in f"{settings!r} {settings!s} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://user:hunter2@host:5672//", "amqp://user:**@host:5672//"),
        ("redis://:hunter2@host/0", "redis://**@host/0"),
        ("redis://host/0", "redis://host/0"),
        ("sqs://", "sqs://"),
        ("amqp://user:p%40ss@host/v", "amqp://user:**@host/v"),
        ("amqp://user:p@ss@host/v", "amqp://user:**@host/v"),
    ],
)
def test_a_redacted_url_shows_everything_but_the_password(url, shown):
    assert redacted(url) == shown


@pytest.mark.parametrize("url", ["http://user:hunter2@host", "kafka://user:hunter2@host", "user:hunter2@host", ""])
def test_a_scheme_that_we_do_not_carry_is_refused_without_showing_the_password(url):
    with pytest.raises(ConfigurationError, match="expected one of") as caught:
        scheme_of(url)
    assert "hunter2" not in str(caught.value)


def test_a_connection_shows_no_password():
    connection = connect("amqp://user:hunter2@host//", Settings())
    assert "hunter2" not in repr(connection)


@pytest.mark.parametrize("url", ["sqs://", "redis://host/0"])
def test_the_lease_is_that_of_the_settings(url):
    assert transport_options(url, Settings(visibility_timeout=7))["visibility_timeout"] == 7
