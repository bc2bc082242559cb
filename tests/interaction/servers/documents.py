"""Resources, prompts, and the completion of their arguments."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.mcpserver.prompts.base import AssistantMessage, Message, UserMessage
from mcp_types import (
    Annotations,
    Completion,
    CompletionArgument,
    CompletionContext,
    EmbeddedResource,
    PromptReference,
    ResourceTemplateReference,
    TextResourceContents,
)

from tests.interaction.servers.media import DIFFICULT, ICON, PNG

CITIES = {"it": ["Milan", "Rome"], "fr": ["Marseille", "Paris"]}


def register(server: MCPServer[Any]) -> None:
    _register_resources(server)
    _register_prompts(server)

    @server.completion()
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        known = (context.arguments if context is not None else None) or {}
        countries = [known["country"]] if "country" in known else list(CITIES)
        words = [city for country in countries for city in CITIES[country] if city.startswith(argument.value)]
        if isinstance(ref, ResourceTemplateReference):
            words = [word.lower() for word in words]
        return Completion(values=words, total=len(words), has_more=False)


def _register_resources(server: MCPServer[Any]) -> None:
    @server.resource(
        "note://static",
        name="static",
        title="A note",
        mime_type="text/markdown",
        icons=[ICON],
        annotations=Annotations(audience=["user"], priority=0.5),
        meta={"com.example/pages": 1},
    )
    def static() -> str:
        """A text with every kind of character."""
        return DIFFICULT

    @server.resource("image://pixel", mime_type="image/png")
    def pixel() -> bytes:
        """An image."""
        return PNG

    @server.resource("city://{country}/{city}", title="A city", mime_type="text/plain")
    def city(country: str, city: str, ctx: Context) -> str:
        """A city that exists."""
        if country == "xx":
            raise ResourceError("the atlas is closed")
        if city not in CITIES.get(country, []):
            raise ResourceNotFoundError(f"no {city} in {country}")
        return f"{city} ({country}), for request {ctx.request_id is not None}"


def _register_prompts(server: MCPServer[Any]) -> None:
    @server.prompt(title="Compare", icons=[ICON])
    def compare(first: str, second: str = "tea") -> list[Message]:
        """Compare two things."""
        return [UserMessage(f"Compare {first} with {second}."), AssistantMessage("Gladly.")]

    @server.prompt()
    def illustrated(uri: str) -> list[UserMessage]:
        """A prompt that carries an image and a resource."""
        text = TextResourceContents(uri=uri, mime_type="text/plain", text="the text")
        return [UserMessage(Image(data=PNG, format="png")), UserMessage(EmbeddedResource(resource=text))]
