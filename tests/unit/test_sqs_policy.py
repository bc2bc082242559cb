"""A queue's policy lets exactly its topics send; what else it says stays."""

from __future__ import annotations

import json

import pytest

from asyncmcp_kombu.broker.sqs_policy import allowing, topics_in, without

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:asyncmcp-workers-reply-a"
EVENTS, CONTROL = (f"arn:aws:sns:eu-west-1:123456789012:asyncmcp-workers-{kind}" for kind in ("events", "control"))
OWN = {"Sid": "Own", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}


def statements(policy: str) -> list[dict[str, object]]:
    return json.loads(policy)["Statement"]


@pytest.mark.parametrize("policy", ["", "{}", '{"Statement": []}'])
def test_a_queue_without_policy_gets_one_and_loses_it_again(policy):
    allowed = allowing(policy, EVENTS, QUEUE)
    assert json.loads(allowed)["Version"] == "2012-10-17"
    assert topics_in(allowed) == {EVENTS}
    assert without(allowed, EVENTS) == ""


def test_allowing_twice_changes_nothing():
    once = allowing("", EVENTS, QUEUE)
    assert allowing(once, EVENTS, QUEUE) == once


def test_topics_do_not_replace_each_other():
    both = allowing(allowing("", EVENTS, QUEUE), CONTROL, QUEUE)
    assert topics_in(both) == {EVENTS, CONTROL}
    assert topics_in(without(both, EVENTS)) == {CONTROL}


@pytest.mark.parametrize("own", [OWN, [OWN]], ids=["one statement", "a list"])
def test_what_an_operator_wrote_stays(own):
    policy = json.dumps({"Version": "2008-10-17", "Id": "ours", "Statement": own})
    allowed = allowing(policy, EVENTS, QUEUE)
    assert json.loads(allowed) | {"Statement": None} == {"Version": "2008-10-17", "Id": "ours", "Statement": None}
    assert statements(allowed)[0] == OWN
    assert len(statements(allowed)) == 2
    assert statements(without(allowed, EVENTS)) == [OWN]
    assert without(policy, EVENTS) == policy
    assert topics_in(policy) == set()


def test_a_statement_of_ours_for_another_queue_is_corrected():
    copied = allowing(allowing("", EVENTS, f"{QUEUE}-old"), EVENTS, QUEUE)
    (only,) = statements(copied)
    assert only["Resource"] == QUEUE
