"""Names are fixed and legal on SQS; a worker writes replies to reply queues of its own server only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.topology import (
    EVERYONE,
    LONGEST_NAME,
    Topology,
    belongs_to_one_process,
    is_durable_reply,
    new_client_id,
    new_question,
    new_worker_id,
    queue_name_of,
)

CLIENT = "0123456789abcdef0123456789abcdef"
OURS = Topology("workers")
LEGAL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_the_names_are_those_of_the_wire_binding():
    assert OURS.requests == "asyncmcp-workers-requests"
    assert OURS.jobs == "asyncmcp-workers-jobs"
    assert OURS.dead == "asyncmcp-workers-dead"
    assert OURS.events == "asyncmcp-workers-events"
    assert OURS.control == "asyncmcp-workers-control"
    assert OURS.reply(CLIENT) == f"asyncmcp-workers-reply-{CLIENT}"
    assert OURS.control_queue("0123456789abcdef") == "asyncmcp-workers-control-0123456789abcdef"
    assert EVERYONE == "*"


def test_the_prefix_may_be_another_or_none():
    assert Topology("a", "p_").requests == "p_a-requests"
    assert Topology("a", "").requests == "a-requests"


@pytest.mark.parametrize("server", ["", "a b", "a.b", "a/b", "é", "a\n", "a\x00", "*"])
def test_a_server_name_that_sqs_would_refuse_is_refused(server):
    with pytest.raises(ConfigurationError, match="server name"):
        Topology(server)


@pytest.mark.parametrize("prefix", [" ", "a.b-", "a/", "ü-", "p-\n"])
def test_a_prefix_that_sqs_would_refuse_is_refused(prefix):
    with pytest.raises(ConfigurationError, match="prefix"):
        Topology("workers", prefix)


def test_the_longest_legal_name_is_accepted_and_one_character_more_is_refused_with_advice():
    longest = "x" * (LONGEST_NAME - len("asyncmcp-") - len("-reply-") - 32)
    topology = Topology(longest)
    assert len(topology.reply(new_client_id())) == LONGEST_NAME
    with pytest.raises(ConfigurationError, match=r"names of 81 characters.*shorten one of them by 1"):
        Topology(longest + "x")


def test_client_ids_are_128_bits_in_hexadecimal_and_differ():
    ids = {new_client_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in ids)


def test_worker_ids_are_64_bits_in_hexadecimal_and_their_queues_no_longer_than_reply_queues():
    ids = {new_worker_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)
    assert len(OURS.control_queue(new_worker_id())) <= len(OURS.reply(new_client_id()))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (OURS.requests, "requests"),
        (OURS.jobs, "jobs"),
        (OURS.dead, "dead"),
        (OURS.reply(CLIENT), "reply"),
        (OURS.reply("my-own_client"), "reply"),
        (OURS.control_queue("0123456789abcdef"), "control"),
    ],
)
def test_a_server_knows_its_queues_by_name(name, kind):
    assert OURS.kind_of(name) == kind
    assert belongs_to_one_process(name) == (kind in ("reply", "control"))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "payroll",
        OURS.events,
        OURS.control,
        OURS.reply(""),
        OURS.control_queue(""),
        f"{OURS.requests}-x",
        f"x{OURS.requests}",
        Topology("other").reply(CLIENT),
        Topology("workers", "p-").reply(CLIENT),
        OURS.reply("é"),
        OURS.reply("x" * 80),
        f"{OURS.reply(CLIENT)}.fifo",
    ],
)
def test_any_other_name_is_no_queue_of_the_server(name):
    assert OURS.kind_of(name) is None


@given(
    st.text(LEGAL, min_size=1, max_size=12) | st.sampled_from(["reply", "control", "a-reply", "a-control-b"]),
    st.text(LEGAL, max_size=8) | st.sampled_from(["-reply-", "-control-x", "-"]),
)
def test_no_server_takes_a_queue_of_another_for_its_own(server, rest):
    ours, theirs = Topology(server), Topology(server + rest)
    own = [theirs.requests, theirs.jobs, theirs.dead, theirs.reply(CLIENT), theirs.control_queue("0123456789abcdef")]
    assert [theirs.kind_of(name) for name in own] == ["requests", "jobs", "dead", "reply", "control"]
    assert rest == "" or [ours.kind_of(name) for name in own] == [None] * 5


@pytest.mark.parametrize(
    "address",
    [
        OURS.reply(CLIENT),
        OURS.reply("my-own_client"),
        f"https://sqs.eu-west-1.amazonaws.com/123456789012/{OURS.reply(CLIENT)}",
        f"http://127.0.0.1:4566/000000000000/{OURS.reply(CLIENT)}",
    ],
)
def test_a_reply_queue_of_this_server_is_allowed_by_name_and_by_url(address):
    assert OURS.allows_reply_to(address)
    assert queue_name_of(address).startswith("asyncmcp-workers-reply-")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "asyncmcp-workers-reply-",
        OURS.requests,
        OURS.jobs,
        OURS.dead,
        "payroll",
        f"asyncmcp-other-reply-{CLIENT}",
        f"other-workers-reply-{CLIENT}",
        f" {OURS.reply(CLIENT)}",
        f"{OURS.reply(CLIENT)}\n",
        f"{OURS.reply(CLIENT)}.fifo",
        f"{OURS.reply(CLIENT)}/../payroll",
        f"../{OURS.reply(CLIENT)}",
        f"/{OURS.reply(CLIENT)}",
        f"{OURS.reply(CLIENT)}?x=1",
        f"{OURS.reply(CLIENT)}%2Fpayroll",
        OURS.reply("x" * 80),
        OURS.reply("é"),
        OURS.reply("a*"),
    ],
)
def test_any_other_queue_is_refused(address):
    assert not OURS.allows_reply_to(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://sqs.eu-west-1.amazonaws.com/1/payroll",
        f"https://sqs.eu-west-1.amazonaws.com/1/{OURS.reply(CLIENT)}/payroll",
        f"https://sqs.eu-west-1.amazonaws.com/1/payroll?{OURS.reply(CLIENT)}",
        f"https://sqs.eu-west-1.amazonaws.com/1/payroll#/{OURS.reply(CLIENT)}",
        f"https://{OURS.reply(CLIENT)}",
        f"https://x/1/{OURS.reply(CLIENT)}/",
        f"https://x/1/{OURS.reply(CLIENT)}%2F..%2Fpayroll",
        f"payroll://{OURS.reply(CLIENT)}",
    ],
)
def test_a_url_of_any_other_queue_is_refused(url):
    assert not OURS.allows_reply_to(url)


def test_a_url_of_another_account_means_the_queue_of_that_name_in_our_own():
    assert queue_name_of(f"https://sqs.us-east-1.amazonaws.com/999/{OURS.reply(CLIENT)}") == OURS.reply(CLIENT)


@pytest.mark.parametrize("url", ["http://[", "http://[::1", "http://a]b/c", "http://\u2100/a"])
def test_a_malformed_url_is_refused_and_raises_nothing(url):
    assert not OURS.allows_reply_to(url)


@given(st.text() | st.text(LEGAL + "/:?#%.").map(lambda tail: f"asyncmcp-workers-reply-{tail}"))
def test_what_is_allowed_is_a_legal_name_with_the_stem_of_this_server(address):
    name = queue_name_of(address)
    assert not OURS.allows_reply_to(address) or (
        name.startswith("asyncmcp-workers-reply-") and set(name) <= set(LEGAL) and len(name) <= LONGEST_NAME
    )


@given(
    st.text(LEGAL, min_size=1, max_size=20),
    st.text(LEGAL, max_size=12),
    st.text(LEGAL, min_size=1, max_size=32),
)
def test_every_server_allows_its_own_reply_queues_and_no_queue_of_its_own(server, prefix, client_id):
    topology = Topology(server, prefix)
    assert topology.allows_reply_to(topology.reply(client_id))
    own = [topology.requests, topology.jobs, topology.dead, topology.events, topology.control]
    assert not any(topology.allows_reply_to(name) for name in own)


def test_a_durable_reply_queue_is_a_kind_of_its_own_that_outlives_its_process():
    topology = Topology("workers")
    queue = topology.durable_reply("billing-host-1")
    assert queue == "asyncmcp-workers-reply-durable-billing-host-1"
    assert topology.kind_of(queue) == topology.kind_of(topology.durable_audience("log")) == "durable"
    assert topology.allows_reply_to(queue)
    assert is_durable_reply(queue)
    assert not belongs_to_one_process(queue)
    assert not is_durable_reply(topology.reply("ab12"))


@pytest.mark.parametrize("client_id", ["", "*", "a b", "é", "x" * 50, "x-requests", "reply-x", "audience-x", "a.b"])
def test_a_client_id_that_cannot_name_a_queue_is_refused(client_id: str):
    with pytest.raises(ConfigurationError, match="durable queue"):
        Topology("workers").durable_reply(client_id)


QUEUE_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/asyncmcp-shop-requests"


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("arn:aws:sns:eu-central-1:123456789012:asyncmcp-shop-reply-1", True),
        ("arn:aws:sns:eu-central-1:123456789012:asyncmcp-shop-events", False),
        ("arn:aws:sns:eu-central-1:999999999999:asyncmcp-shop-reply-1", False),
        ("arn:aws:sns:eu-central-1::asyncmcp-shop-reply-1", False),
        ("arn:aws:sqs:eu-central-1:123456789012:asyncmcp-shop-reply-1", False),
    ],
)
def test_a_reply_topic_is_named_as_reply_queues_are_and_of_the_request_queues_account(topic: str, allowed: bool):
    assert Topology("shop").reply_route(topic, QUEUE_URL) == (topic if allowed else None)
    assert Topology("shop").reply_route(topic) is None  # no SQS, no topics


def test_a_question_says_to_whose_inbox_its_answer_goes():
    topology = Topology("shop")
    inbox = topology.new_inbox()
    assert topology.inbox_of(new_question(inbox)) == inbox
    assert new_question(inbox) != new_question(inbox)
    for other in (new_question(None), 1, None, "x.y", "../" + new_question(inbox)):
        assert topology.inbox_of(other) is None
