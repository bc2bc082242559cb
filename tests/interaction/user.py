"""A client's side of elicitation, sampling and roots."""

from __future__ import annotations

from typing import Any

from mcp_types import (
    CallToolResult,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestURLParams,
    ElicitResult,
    ListRootsResult,
    Root,
    TextContent,
)


class User:
    """A client's user, model and roots: they answer, and remember what they were asked."""

    def __init__(self, name: str = "Ada", action: Any = "accept") -> None:
        self.name, self.action, self.asked = name, action, list[Any]()

    async def elicit(self, context: Any, params: Any) -> ElicitResult:
        self.asked.append(params)
        if self.action != "accept":
            return ElicitResult(action=self.action)
        if isinstance(params, ElicitRequestURLParams):
            return ElicitResult(action="accept")
        properties = params.requested_schema["properties"]
        values: dict[str, Any] = {"name": self.name, "seats": 3, "value": self.name, "ok": True}
        return ElicitResult(action="accept", content={key: values[key] for key in properties})

    async def sample(self, context: Any, params: CreateMessageRequestParams) -> CreateMessageResult:
        self.asked.append(params)
        text = TextContent(text=f"{self.name} says hi")
        return CreateMessageResult(role="assistant", content=text, model="m1", stop_reason="endTurn")

    async def roots(self, context: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=f"file:///home/{self.name}", name="home")])

    @property
    def callbacks(self) -> dict[str, Any]:
        return {
            "elicitation_callback": self.elicit,
            "sampling_callback": self.sample,
            "list_roots_callback": self.roots,
        }


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text
