-- KEYS  channel    ARGV  nonce
-- Publishes as the log does, so that whoever hears this would have heard that.
return redis.call(PUBLISH, KEYS[1], ARGV[1])
