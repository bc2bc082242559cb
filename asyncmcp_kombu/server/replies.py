"""Replies: what goes back to the sender of one request, numbered, to its reply address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from mcp_types.jsonrpc import ErrorData

from asyncmcp_kombu.broker.threads import finished
from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.errors import MessageTooLarge

Publish = Callable[[str, Envelope], Future[None]]
"""Publishes an envelope to a queue, or to a topic by its ARN; the future is done when the broker has accepted it."""


class Reply(Protocol):
    """The way back for one request, as those who serve it see it."""

    @property
    def session_id(self) -> str | None: ...
    @session_id.setter
    def session_id(self, value: str | None) -> None: ...
    def notify(self, method: str, params: Mapping[str, Any] | None) -> Future[None]: ...
    def send(self, message: Mapping[str, Any], reply_to: str | None = None) -> Future[None]: ...


class Replies:
    """The way back for one request. Used by one thread at a time."""

    def __init__(self, request: Envelope, publish: Publish) -> None:
        self._request, self._publish = request, publish
        self._sequence = 0
        self.session_id = request.session_id
        """Sent along; what `initialize` is answered with sets it."""

    def notify(self, method: str, params: Mapping[str, Any] | None) -> Future[None]:
        """Send a notification that belongs to the request."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = dict(params)
        return self._send(message, related_request=self._request.request_id)

    def send(self, message: Mapping[str, Any], reply_to: str | None = None) -> Future[None]:
        """Send a message of any other kind that belongs to the request, as a request to the client."""
        return self._send(message, related_request=self._request.request_id, reply_to=reply_to)

    def result(self, result: Mapping[str, Any]) -> Future[None]:
        """Send the response; nothing may follow it."""
        return self._send({"jsonrpc": "2.0", "id": self._request.request_id, "result": result})

    def error(self, error: ErrorData) -> Future[None]:
        """Send an error response; nothing may follow it."""
        data = error.model_dump(mode="json", exclude_none=True)
        return self._send({"jsonrpc": "2.0", "id": self._request.request_id, "error": data})

    def _send(self, message: Mapping[str, Any], **attributes: Any) -> Future[None]:
        address = self._request.reply_to
        if address is None:  # the sender wants no answer
            return finished()
        envelope = compose(
            message,
            client_id=self._request.client_id,
            session_id=self.session_id,
            sequence=self._sequence,
            **attributes,
        )
        sent = self._publish(address, envelope)
        if not (sent.done() and isinstance(sent.exception(), MessageTooLarge)):
            self._sequence += 1  # a message that was never sent must leave no gap
        return sent
