-- KEYS  meta, entries    ARGV  ttl ms
-- Returns {epoch, last}, or {} if there is no log.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'last')
if not (state[1] and state[2]) then
  return {}
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return state
