-- KEYS  meta, entries
refused('DEL', KEYS[1], KEYS[2])
