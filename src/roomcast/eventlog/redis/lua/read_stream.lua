-- KEYS  stream
return read('LRANGE', KEYS[1], 0, -1) or {}
