-- ARGV  most fields, ttl ms, field, field, ...
-- Answers how many fields had no room.
local room = MOST - redis.call('HLEN', HERE)
local refused = 0
for i = 3, #ARGV do
  if room > 0 then
    room = room - redis.call('HSET', HERE, ARGV[i], '1')
  elseif redis.call('HEXISTS', HERE, ARGV[i]) == 0 then
    refused = refused + 1
  end
end
redis.call('PEXPIRE', HERE, ARGV[2])
-- Whoever has no room tries again before this lapses.
if refused > 0 then
  redis.call('SET', FULL, '1', 'PX', ARGV[2])
end
return refused
