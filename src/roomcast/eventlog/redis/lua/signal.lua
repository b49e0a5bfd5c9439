-- KEYS  channel    ARGV  message
-- Publishes with the same command as appends do: if a canary arrives, entries arrive as well.
return redis.call(PUBLISH, KEYS[1], ARGV[1])
