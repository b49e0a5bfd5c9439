-- KEYS  channel    ARGV  message
-- Publishes as the log does: a canary that arrives proves that entries would have arrived.
return redis.call(PUBLISH, KEYS[1], ARGV[1])
