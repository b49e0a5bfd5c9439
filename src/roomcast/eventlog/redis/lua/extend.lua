-- Shared by append.lua and seed.lua: each script consists of publishing.lua, writing.lua, state.lua, this file, and one of
-- the two.
--
-- KEYS  meta, entries, channel
-- ARGV  epoch, max entries, max bytes, ttl ms, first seq, record, record, ...
-- Returns {1, last} if the log has the records, {2, error} if Redis refused to store them: they are only published. Only
-- append.lua returns {0, last} (a gap) or {0} (no log, or a log of another epoch).
local CHANNEL = KEYS[3]
local EPOCH, TTL_MS = ARGV[1], ARGV[4]
local MAX_ENTRIES, MAX_BYTES = tonumber(ARGV[2]), tonumber(ARGV[3])
local FIRST = tonumber(ARGV[5])
local RECORDS = 6
local FINAL = FIRST + #ARGV - RECORDS
-- No key has the channel's name, and the command changes nothing. It is the first write, because Redis accepts every
-- write of a script after one that needs no memory.
local REFUSAL = refused('SETRANGE', CHANNEL, 0, '')

-- Publishes the records after `last`, and stores them in the log that has `count` entries of together `bytes`.
local function extend(last, count, bytes)
  local sizes, added, from = {}, 0, RECORDS + math.max(last + 1 - FIRST, 0)
  for i = from, #ARGV do
    sizes[#sizes + 1] = #ARGV[i]
    added = added + #ARGV[i]
  end
  if #sizes > 0 then
    if not REFUSAL then
      redis.call('RPUSH', ENTRIES, unpack(ARGV, from))
      count, bytes = count + #sizes, (count > 0 and bytes or 0) + added
      while count > 0 and (count > MAX_ENTRIES or bytes > MAX_BYTES) do
        bytes = bytes - #redis.call('LPOP', ENTRIES)
        count = count - 1
      end
      last = FINAL
      redis.call('HSET', META, 'last', decimal(last), 'bytes', decimal(math.max(bytes, 0)))
    end
    local header = 'RC1 ' .. EPOCH .. ' ' .. table.concat(sizes, ' ') .. '\n'
    redis.call(PUBLISH, CHANNEL, header .. table.concat(ARGV, '', from))
  end
  if REFUSAL and FINAL > last then
    return {2, REFUSAL}
  end
  keep(TTL_MS)
  return {1, last}
end

-- Replaces the log with a log that starts after `last`.
local function replace(last)
  if REFUSAL then
    extend(last, 0, 0)
    return {2, REFUSAL}
  end
  redis.call('DEL', META, ENTRIES)
  redis.call('HSET', META, 'epoch', EPOCH, 'last', decimal(last), 'bytes', 0)
  return extend(last, 0, 0)
end
