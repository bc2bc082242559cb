"""boto3 sessions of our own: what botocore reads from its files is read once, all else is each session's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncmcp_kombu.broker.sqs_session import new_core_session, new_session


def test_two_sessions_read_botocores_files_once_and_have_keys_of_their_own():
    one, other = (
        new_session(aws_access_key_id=key, aws_secret_access_key="x", region_name="eu-west-1") for key in "ab"
    )
    models = [session._session.get_service_model("sqs")._service_description for session in (one, other)]
    assert models[0] is models[1]
    assert [session.get_credentials().access_key for session in (one, other)] == ["a", "b"]


def test_a_data_path_of_the_users_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = tmp_path / "mine" / "2026-01-01"
    model.mkdir(parents=True)
    (model / "service-2.json").write_text(json.dumps({"metadata": {"serviceId": "Mine"}}))
    assert "mine" not in new_core_session().get_available_services()
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    assert "mine" in new_core_session().get_available_services()
