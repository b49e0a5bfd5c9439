-- KEYS  channel    ARGV  message
return redis.call(PUBLISH, KEYS[1], ARGV[1])
