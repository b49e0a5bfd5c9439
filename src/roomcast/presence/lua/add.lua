-- ARGV  max entries, ttl ms, a new epoch, field, field, ...
-- Returns the number of fields that were refused because the hash was full.
local room = MAX_ENTRIES - (redis.call('HLEN', HERE) - 1)
local refused = 0
for i = 4, #ARGV do
  if room > 0 then
    room = room - redis.call('HSET', HERE, ARGV[i], '1')
  elseif redis.call('HEXISTS', HERE, ARGV[i]) == 0 then
    refused = refused + 1
  end
end
redis.call('PEXPIRE', HERE, TTL_MS)
-- Gateways add refused users again before this key expires; if they are refused again, the key is renewed.
if refused > 0 then
  redis.call('SET', FULL, '1', 'PX', TTL_MS)
end
return refused
