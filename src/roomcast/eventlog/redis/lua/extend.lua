-- Shared by append.lua and seed.lua: each script consists of publishing.lua, this file, and one of the two.
--
-- KEYS  meta, entries
-- ARGV  channel, epoch, max entries, max bytes, ttl ms, first seq, record, record, ...
--
-- The entries are a list whose newest element has the seq `last` of the meta hash, so the list cannot have a gap. Redis
-- may evict one key without the other: without the hash there is no log; without the list the log is empty and ends at
-- `last`.
local META, ENTRIES = KEYS[1], KEYS[2]
local CHANNEL, EPOCH, TTL_MS = ARGV[1], ARGV[2], ARGV[5]
local MAX_ENTRIES, MAX_BYTES = tonumber(ARGV[3]), tonumber(ARGV[4])
local FIRST = tonumber(ARGV[6])
local RECORDS = 7
local GIVEN = #ARGV - RECORDS + 1

-- The last seq of this epoch's log, or nil.
local function ending()
  local state = redis.call('HMGET', META, 'epoch', 'last')
  return state[1] == EPOCH and tonumber(state[2]) or nil
end

-- Replaces the log with an empty log that ends at `last`.
local function create(last)
  redis.call('DEL', ENTRIES)
  redis.call('HSET', META, 'epoch', EPOCH, 'last', string.format('%.0f', last), 'bytes', 0)
end

local function keep()
  redis.call('PEXPIRE', META, TTL_MS)
  redis.call('PEXPIRE', ENTRIES, TTL_MS)
end

-- Appends and publishes the records after `last`; FIRST must be at most last + 1. Returns the new last seq.
local function extend(last)
  local from = RECORDS + math.max(last + 1 - FIRST, 0)
  if GIVEN > 0 and from <= #ARGV then
    local sizes, added = {}, 0
    for i = from, #ARGV do
      sizes[#sizes + 1] = #ARGV[i]
      added = added + #ARGV[i]
    end
    local count = redis.call('RPUSH', ENTRIES, unpack(ARGV, from))
    local bytes = added
    if count > #sizes then
      bytes = bytes + tonumber(redis.call('HGET', META, 'bytes'))
    end
    while count > 0 and (count > MAX_ENTRIES or bytes > MAX_BYTES) do
      bytes = bytes - #redis.call('LPOP', ENTRIES)
      count = count - 1
    end
    last = FIRST + GIVEN - 1
    redis.call('HSET', META, 'last', string.format('%.0f', last), 'bytes', bytes)
    local header = 'RC1 ' .. EPOCH .. ' ' .. table.concat(sizes, ' ') .. '\n'
    redis.call(PUBLISH, CHANNEL, header .. table.concat(ARGV, '', from))
  end
  keep()
  return last
end
