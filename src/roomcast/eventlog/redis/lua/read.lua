-- KEYS  meta, entries    ARGV  ttl ms, epoch, after, limit
-- Returns {} if there is no log, {epoch, last} if the log cannot replay from `after`, else {epoch, last, records, more}
-- with more = 1 if there are further records, else 0.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'last')
if not (state[1] and state[2]) then
  return {}
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
local last, after, limit = tonumber(state[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local count = redis.call('LLEN', KEYS[2])
if state[1] ~= ARGV[2] or after < last - count or after > last then
  return state
end
local start = after - (last - count)
local records = {}
if start < count and limit > 0 then
  records = redis.call('LRANGE', KEYS[2], start, start + limit - 1)
end
return {state[1], state[2], records, start + #records < count and 1 or 0}
