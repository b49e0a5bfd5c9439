-- The first part of every script in this folder.
-- KEYS  here (hash: node id and user id to "1", and "epoch"), full ("1" after a user was refused: the hash was full)
-- ARGV  max entries, ttl ms, a new epoch, ...
-- Any client of this Redis can write to the key. A value that is not a hash is deleted, and so is a hash with more than
-- twice the allowed entries: reading it would block Redis and the gateway.
local HERE, FULL, MAX_ENTRIES, TTL_MS = KEYS[1], KEYS[2], tonumber(ARGV[1]), ARGV[2]
local kind = redis.call('TYPE', HERE).ok
if kind ~= 'none' and (kind ~= 'hash' or redis.call('HLEN', HERE) > 2 * MAX_ENTRIES) then
  redis.call('UNLINK', HERE)
end
-- If Redis loses the entries, it loses the epoch as well: a changed epoch tells readers that entries were lost.
if redis.call('HSETNX', HERE, 'epoch', ARGV[3]) == 1 then
  redis.call('PEXPIRE', HERE, TTL_MS)
end
