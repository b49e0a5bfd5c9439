-- KEYS  the use of one key of a limit: the time at which its allowance is full again, in µs of Redis's clock
-- ARGV  what was charged and the period, both in µs
-- Returns by how many µs that time is ahead: at most two periods, since what several processes granted at once may be
-- more than the limit, and is made up for later.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local full_at = math.max(tonumber(redis.call('HGET', KEYS[1], 'full_at') or 0), now) + ARGV[1]
full_at = math.min(full_at, now + 2 * ARGV[2])
redis.call('HSET', KEYS[1], 'full_at', string.format('%.0f', full_at))
redis.call('PEXPIRE', KEYS[1], math.ceil((full_at - now) / 1000))
return string.format('%.0f', full_at - now)
