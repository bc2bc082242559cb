"""boto3 sessions that share what botocore reads from its data files.

Each session parses them for itself, which takes 60 to 120 ms of CPU time for a client; a worker makes half a dozen.
With what is read kept, a client takes 15 ms. Credentials and configuration are each session's own, as ever.
"""

from __future__ import annotations

import functools
from typing import Any

import boto3
from botocore.loaders import Loader, create_loader
from botocore.session import Session, get_session


def new_session(**options: Any) -> boto3.Session:
    """A boto3 session. Args: options: those of `boto3.Session`."""
    return boto3.Session(botocore_session=new_core_session(), **options)


def new_core_session() -> Session:
    """Botocore's session, without boto3's part."""
    session = get_session()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    return session


@functools.cache
def _loader(data_path: str | None) -> Loader:
    return create_loader(data_path)
