"""The bearer token of the HTTP bridge: one secret, which whoever knows may use all that the bridge may."""

from __future__ import annotations

import hmac

from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from pydantic import SecretStr
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.types import ASGIApp


class OneToken:
    """A `TokenVerifier` of the SDK's that knows one token, compared in constant time."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    async def verify_token(self, token: str) -> AccessToken | None:
        if not hmac.compare_digest(token.encode(), self._token.get_secret_value().encode()):
            return None
        return AccessToken(token=token, client_id="bridge", scopes=[])


def authentication(token: SecretStr) -> Middleware:
    """Finds out who asks."""
    return Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(OneToken(token)))


def requiring_authentication(app: ASGIApp) -> ASGIApp:
    """Answers 401 to everyone else. No metadata of an authorization server is offered: there is none."""
    return RequireAuthMiddleware(app, required_scopes=[])
