-- ARGV  max entries, ttl ms, a new epoch
-- Returns the epoch, whether users were refused recently, and all fields, including "epoch".
return {redis.call('HGET', HERE, 'epoch'), redis.call('EXISTS', FULL), redis.call('HKEYS', HERE)}
