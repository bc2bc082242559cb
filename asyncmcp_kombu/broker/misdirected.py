"""A message for another consumer of the same queue: given back for that one to find, and dropped in the end.

Where each client has a reply queue of its own this does not happen. Two clients that were given one queue, or two
servers that get their clients' answers on the request queue, take each other's messages now and then.
"""

from __future__ import annotations

from typing import Any

AT_ONCE = 3
"""Receives after which a message is given back without a pause."""
LONGEST_PAUSE = 5
MOST_RECEIVES = 20
"""Then nobody is there any more who waits for it. With the pauses this takes 75 s or so when one consumer reads."""


def pass_on(message: Any) -> bool:
    """Give the message back; False when it was dropped, as often as it came."""
    count = int((message.delivery_info or {}).get("receive_count") or MOST_RECEIVES)
    if count >= MOST_RECEIVES:
        message.ack()
        return False
    give_back = getattr(message.channel, "give_back", None)
    if give_back is None:
        message.requeue()
    else:
        give_back(message.delivery_tag, pause_after(count))
    return True


def pause_after(receives: int) -> int:
    """Seconds for which a message that came so often stays invisible."""
    return min(max(0, receives - AT_ONCE), LONGEST_PAUSE)
