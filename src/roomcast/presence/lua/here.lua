-- ARGV  most fields
return redis.call('HKEYS', HERE)
