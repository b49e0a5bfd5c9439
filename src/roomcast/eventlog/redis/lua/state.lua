-- Part of every script that uses a log, after writing.lua and reading.lua.
-- KEYS  meta, entries
--
-- The entries are a list whose newest element has the seq `last` of the meta hash, so the list cannot have a gap. Redis
-- may evict one key without the other: without the hash there is no log; without the list the log is empty and ends at
-- `last`.
local META, ENTRIES = KEYS[1], KEYS[2]

-- Returns epoch, last, count, bytes; nothing if there is no log. A log that cannot be decoded, because another client
-- wrote to its keys, counts as absent: a seed replaces it.
local function state()
  local meta, count = read('HMGET', META, 'epoch', 'last', 'bytes'), read('LLEN', ENTRIES)
  if not (meta and count and meta[1]) then
    return
  end
  local last, bytes = meta[2] or '', meta[3] or ''
  if #last <= 15 and string.find(last, '^%d+$') and string.find(bytes, '^%d+$') then
    return meta[1], tonumber(last), count, tonumber(bytes)
  end
end

local function keep(ttl_ms)
  refused('PEXPIRE', META, ttl_ms)
  refused('PEXPIRE', ENTRIES, ttl_ms)
end

local function decimal(number)
  return string.format('%.0f', number)
end
