"""What Redis must do in one step: put a message into a list and wake who waits; claim messages from lists.

Kombu pops a message (BRPOP) and notes afterwards who holds it; what Redis popped for a connection that broke, nobody
has. A script does both, but cannot wait. So a consumer waits for a token in a list beside the queue, which whoever
sends puts there: at most one, for a few seconds.

The scripts are sent whole: Redis keeps what it compiled, and there is no second way for a server that forgot them.
They name keys of one server: Redis Cluster is not supported, as by Kombu.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

_TOKEN_KEPT = 5
"""Seconds; longer than any consumer waits before it looks by itself."""

_WAKE = f"""
local function wake(token)
  if redis.call('EXISTS', token) == 0 then
    redis.call('RPUSH', token, 1)
    redis.call('EXPIRE', token, {_TOKEN_KEPT})
  end
end
"""

# KEYS: list, token. ARGV: message, seconds for which a list that begins is kept (0: for ever).
_PUSH = f"""{_WAKE}
redis.call('LPUSH', KEYS[1], ARGV[1])
if ARGV[2] ~= '0' and redis.call('TTL', KEYS[1]) == -1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
wake(KEYS[2])
"""

# KEYS: held messages, the times of their leases, then lists and their tokens in turn.
# ARGV: now, most, stem of the delivery tags, number of the first, then the name of each list's queue as JSON.
_CLAIM = f"""{_WAKE}
local claimed, most, number = {{}}, tonumber(ARGV[2]), tonumber(ARGV[4])
for at = 3, #KEYS, 2 do
  local place = (at - 1) / 2
  while #claimed < 2 * most do
    local message = redis.call('RPOP', KEYS[at])
    if not message then break end
    local tag = ARGV[3] .. number
    redis.call('ZADD', KEYS[2], ARGV[1], tag)
    redis.call('HSET', KEYS[1], tag, '[' .. message .. ',"",' .. ARGV[4 + place] .. ']')
    claimed[#claimed + 1] = place
    claimed[#claimed + 1] = message
    number = number + 1
  end
  if redis.call('LLEN', KEYS[at]) > 0 then wake(KEYS[at + 1]) end
end
return claimed
"""


def token_of(queue: str) -> str:
    """The list in which a token says that something may be in the queue."""
    return f"asyncmcp-wake.{queue}"


def push(client: Any, prefix: str, key: str, queue: str, message: str, kept: int) -> Any:
    """Put a message into a list of the queue, and a token beside it; `client` may be a pipeline.

    Args:
        prefix: of all keys.
        key: of the list, which depends on the message's priority.
        kept: seconds after which the list expires when it begins with this message; 0 is never.
    """
    return client.eval(_PUSH, 2, prefix + key, prefix + token_of(queue), message, kept)


def wake(client: Any, prefix: str, queue: str) -> Any:
    """Say that something may be in the queue; `client` may be a pipeline."""
    return client.eval(f"{_WAKE}wake(KEYS[1])", 1, prefix + token_of(queue))


def claim_arguments(
    prefix: str, held: tuple[str, str], lists: Sequence[tuple[str, str]], now: float, most: int, stem: str, number: int
) -> list[Any]:
    """The arguments of EVAL.

    Args:
        held: the keys under which messages and the times of their leases are noted.
        lists: keys of lists, each with the name of its queue; looked into in this order.
        stem, number: delivery tags are made of: copies of a message may share the one that they came with.
    """
    keys = [*held]
    for key, queue in lists:
        keys += [key, token_of(queue)]
    names = [json.dumps(queue) for _, queue in lists]
    return [_CLAIM, len(keys), *(prefix + key for key in keys), now, most, stem, number, *names]
