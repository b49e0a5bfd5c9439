-- KEYS  leases (sorted set: node id by the expiry of its lease), records (hash: node id to record)
-- ARGV  lease ms, own id, own record ("" removes the lease, "-" only reads)
-- Returns [id, record, id, record, ...] of the nodes with a valid lease. Times are the server's: nodes' clocks differ.
local LEASES, RECORDS = KEYS[1], KEYS[2]
local LEASE_MS, ID, RECORD = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Any client of this Redis can write to the keys: a value of another type is deleted, and the nodes write theirs again.
for key, kind in pairs({[LEASES] = 'zset', [RECORDS] = 'hash'}) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= kind then
    redis.call('UNLINK', key)
  end
end
-- One key may be evicted without the other: a node without a record is skipped, one without a lease is missing. The first
-- write needs no memory, so that Redis accepts the others, which are small, beyond `maxmemory` as well.
redis.call('PEXPIRE', LEASES, 10 * LEASE_MS)
if RECORD == '' then
  redis.call('ZREM', LEASES, ID)
  redis.call('HDEL', RECORDS, ID)
elseif RECORD ~= '-' then
  redis.call('ZADD', LEASES, string.format('%.0f', now + LEASE_MS), ID)
  redis.call('HSET', RECORDS, ID, RECORD)
end
local function remove(from, to)
  for _, ended in ipairs(redis.call('ZRANGEBYSCORE', LEASES, from, to)) do
    redis.call('ZREM', LEASES, ended)
    redis.call('HDEL', RECORDS, ended)
  end
end
remove('-inf', string.format('%.0f', now))
-- Leases from before the server's clock was set back; a live node renews its own.
remove(string.format('%.0f', now + 10 * LEASE_MS), '+inf')
redis.call('PEXPIRE', LEASES, 10 * LEASE_MS)
redis.call('PEXPIRE', RECORDS, 10 * LEASE_MS)
local answer = {}
for _, id in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  local record = redis.call('HGET', RECORDS, id)
  if record then
    answer[#answer + 1] = id
    answer[#answer + 1] = record
  end
end
return answer
