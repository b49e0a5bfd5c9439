-- Shared by all scripts here, which follow it.
-- KEYS  here (hash: node id and user id to "1"), full ("1" while entries are missing that had no room)
-- ARGV  most fields, ...
-- Whoever can write to Redis can put anything under the name. What is no hash is not ours, nor is one of twice as many
-- fields as a board may have: it is taken away, since to read it would hold up Redis and us.
local HERE, FULL, MOST = KEYS[1], KEYS[2], tonumber(ARGV[1])
local kind = redis.call('TYPE', HERE).ok
if kind ~= 'none' and (kind ~= 'hash' or redis.call('HLEN', HERE) > 2 * MOST) then
  redis.call('UNLINK', HERE)
end
