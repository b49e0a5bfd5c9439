-- ARGV  most fields
-- Answers whether entries are missing, and the fields.
return {redis.call('EXISTS', FULL), redis.call('HKEYS', HERE)}
