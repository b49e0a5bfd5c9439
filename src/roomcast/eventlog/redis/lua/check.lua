-- KEYS  a name that no key has
-- Fails where an append is refused, and changes nothing.
return redis.call('SETRANGE', KEYS[1], 0, '')
