-- Shared by append_frame.lua and seed_stream.lua, after publishing.lua, writing.lua and reading.lua.
--
-- A stream is a list of frames; the last one has the generation and the number of the last chunk.
--
-- KEYS  stream, channel
-- ARGV  ttl ms, generation, first, last, frame, signal to publish, max frames
-- Returns {1} if the stream has the frame, {2, error} if Redis refused to store it: it is only published, {3} if a later
-- generation writes the stream. Only append_frame.lua returns {0}: a gap.
local STREAM, CHANNEL, TTL_MS = KEYS[1], KEYS[2], ARGV[1]
local GENERATION, FIRST, LAST = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
-- No key has the channel's name, and the command changes nothing. It is the first write, because Redis accepts every
-- write of a script after one that needs no memory.
local REFUSAL = refused('SETRANGE', CHANNEL, 0, '')

-- Returns the generation and the number of the last chunk; nothing if there is no stream, or another client wrote it.
local function tail()
  local frames = read('LRANGE', STREAM, -1, -1) or {}
  local generation, last = string.match(frames[1] or '', '^T %S+ (%d+) %d+ (%-?%d+) ')
  return tonumber(generation), tonumber(last)
end

local function store(replaces)
  if not REFUSAL then
    if replaces then
      redis.call('DEL', STREAM)
    end
    redis.call('RPUSH', STREAM, ARGV[5])
    redis.call('PEXPIRE', STREAM, TTL_MS)
  end
  redis.call(PUBLISH, CHANNEL, ARGV[6])
  return REFUSAL and {2, REFUSAL} or {1}
end
