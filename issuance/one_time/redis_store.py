"""One-time entries in Redis or Valkey: every act is one script there, so all replicas see one order of events.

Redis keeps an entry by its own clock; whether it is still alive is told by the clock of the process that asks. A
claim never depends on either: once there is a claimant it stays, until the entry is gone and unknown.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Sequence
from typing import Any, Final, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from issuance.clock import Clock
from issuance.one_time.store import KEPT_LONGER_S, Claim, Claiming, OneTimeUnavailableError, Outcome, begun_later, check

TIMEOUT_S: Final = 2.0
MAX_CONNECTIONS: Final = 64
_PREFIX: Final = "onecard"

# Fields: v value, e end in Unix ms, l label, c claimant, p who put it. A put sent twice by a broken connection knows
# itself by p; a slot names the key in it. KEYS[2] holds the second in which this server's memory began.
_PUT: Final = """
local owner = redis.call('HGET', KEYS[1], 'p')
if owner then return owner == ARGV[5] and 1 or 0 end
redis.call('SET', KEYS[2], ARGV[7], 'NX')
if ARGV[8] ~= '' and tonumber(ARGV[8]) < tonumber(redis.call('GET', KEYS[2])) then return -1 end
if KEYS[3] then
  local former = redis.call('GET', KEYS[3])
  if former and redis.call('HEXISTS', former, 'v') == 1 and redis.call('HEXISTS', former, 'c') == 0
    and tonumber(redis.call('HGET', former, 'e')) > tonumber(ARGV[6]) then
    redis.call('HSET', former, 'e', ARGV[6])
  end
  redis.call('SET', KEYS[3], KEYS[1], 'PX', ARGV[4])
end
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'l', ARGV[2], 'e', ARGV[3], 'p', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""
_CLAIMING: Final = """
local function claim(key, claimant, label, now)
  local entry = redis.call('HMGET', key, 'v', 'e', 'l', 'c')
  if not entry[1] then return {'unknown', '', ''} end
  local alive = tonumber(now) < tonumber(entry[2])
  if entry[3] ~= label then return {'other_label', entry[1], ''} end
  if entry[4] then
    if entry[4] == claimant and alive then return {'again', entry[1], ''} end
    return {'taken', entry[1], entry[4]}
  end
  if not alive then return {'expired', entry[1], ''} end
  redis.call('HSET', key, 'c', claimant)
  return {'first', entry[1], ''}
end
"""
_CLAIM: Final = f"{_CLAIMING} return claim(KEYS[1], ARGV[1], ARGV[2], ARGV[3])"
_CLAIM_ALL: Final = f"""{_CLAIMING}
local told = {{}}
for at, key in ipairs(KEYS) do told[at] = claim(key, ARGV[2 * at], ARGV[2 * at + 1], ARGV[1]) end
return told
"""


class RedisStore:
    """`space` keeps centres that share a server apart. One server, or one behind Sentinel; not a cluster."""

    def __init__(self, url: str, clock: Clock, *, space: str, timeout_s: float = TIMEOUT_S) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # A server that was restarted has closed what lay in the pool. Every script may run twice.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        self._redis = Redis.from_pool(pool)
        self._clock = clock
        self._space = f"{_PREFIX}:{space}"
        self._put = self._redis.register_script(_PUT)
        self._claim = self._redis.register_script(_CLAIM)
        self._claim_all = self._redis.register_script(_CLAIM_ALL)

    async def put(
        self, key: str, value: bytes, ttl_s: float, *, label: str = "", slot: str = "", since: int | None = None
    ) -> bool:
        check(key, value)
        keys = [self._key(key), self._begun] + ([f"{self._space}:slot:{slot}"] if slot else [])
        now = self._now_ms()
        ends, kept_ms = now + round(ttl_s * 1000), round((ttl_s + KEPT_LONGER_S) * 1000)
        arguments: list[bytes | str | int] = [value, label, ends, kept_ms, secrets.token_bytes(8), now]
        arguments += [now // 1000, "" if since is None else since]
        done = await self._run(self._put(keys=keys, args=arguments))
        if done < 0:
            raise begun_later()
        return bool(done)

    async def claim(self, key: str, claimant: str, *, label: str = "") -> Claim:
        check(key)
        arguments: list[str | int] = [claimant, label, self._now_ms()]
        outcome, value, holder = await self._run(self._claim(keys=[self._key(key)], args=arguments))
        return Claim(Outcome(outcome.decode()), value, holder.decode())

    async def claim_all(self, claims: Sequence[Claiming]) -> list[Claim]:
        arguments: list[str | int] = [self._now_ms()]
        for one in claims:
            check(one.key)
            arguments += [one.claimant, one.label]
        told = await self._run(self._claim_all(keys=[self._key(one.key) for one in claims], args=arguments))
        return [Claim(Outcome(outcome.decode()), value, holder.decode()) for outcome, value, holder in told]

    async def drop(self, key: str) -> None:
        await self._run(self._redis.delete(self._key(key)))

    async def ping(self) -> None:
        await self._run(cast("Awaitable[Any]", self._redis.set(self._begun, self._now_ms() // 1000, nx=True)))

    async def close(self) -> None:
        await self._redis.aclose()

    @property
    def _begun(self) -> str:
        return f"{self._space}:begun"

    def _key(self, key: str) -> str:
        return f"{self._space}:entry:{key}"

    def _now_ms(self) -> int:
        return round(self._clock().timestamp() * 1000)

    async def _run(self, command: Awaitable[Any]) -> Any:
        try:
            return await command
        except (RedisError, OSError, TimeoutError) as error:
            # What the driver says may name the server and its password.
            raise OneTimeUnavailableError(f"the one-time store: {type(error).__name__}") from None
