-- ARGV  max entries, ttl ms, a new epoch
-- Returns the epoch, whether entries are missing for lack of room, and all fields, "epoch" among them.
return {redis.call('HGET', HERE, 'epoch'), redis.call('EXISTS', FULL), redis.call('HKEYS', HERE)}
