-- KEYS  channel    ARGV  message
-- A replica publishes as well, but to its own subscribers only. It refuses this write, which changes nothing.
refused('DEL', KEYS[1])
return redis.call(PUBLISH, KEYS[1], ARGV[1])
