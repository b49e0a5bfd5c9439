-- KEYS  channel    ARGV  message
-- Publishes as the log does: whoever hears this would have heard that, which is what the canary is for.
return redis.call(PUBLISH, KEYS[1], ARGV[1])
