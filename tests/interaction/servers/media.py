"""What the servers hand out: the smallest image and sound, an icon, a text with every kind of character."""

from __future__ import annotations

import base64
from typing import Final

from mcp_types import Icon

PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
WAV: Final = base64.b64decode("UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=")
ICON: Final = Icon(src="https://example.com/icon.png", mime_type="image/png", sizes=["48x48"])
DIFFICULT: Final = 'ünïcode ✓ 日本語 🎈 "quoted" \\ back\nline\ttab \u2028 end'
