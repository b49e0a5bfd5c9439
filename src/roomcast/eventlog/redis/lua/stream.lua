-- Shared by append_frame.lua and seed_stream.lua, after publishing.lua, writing.lua and reading.lua.
--
-- A stream is a list of frames, each after a number: the bytes of the frames up to this one. The last element has the
-- generation, the number of the last chunk and the size of the stream.
--
-- KEYS  stream, channel
-- ARGV  ttl ms, generation, first, last, frame, signal to publish, max bytes
-- Returns {1} if the stream has the frame, {2, error} if Redis refused to store it: it is only published, {3} if a later
-- generation writes the stream. Only append_frame.lua returns {0}: a gap.
local STREAM, CHANNEL, TTL_MS = KEYS[1], KEYS[2], ARGV[1]
local GENERATION, FIRST, LAST, FRAME = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
-- No key has the channel's name, and the command changes nothing. It is the first write, because Redis accepts every
-- write of a script after one that needs no memory.
local REFUSAL = refused('SETRANGE', CHANNEL, 0, '')

-- Returns the generation, the number of the last chunk and the bytes of the stream; nothing if there is none, or another
-- client wrote its end.
local function tail()
  local frames = read('LRANGE', STREAM, -1, -1) or {}
  local bytes, generation, last = string.match(frames[1] or '', '^(%d+) T %S+ (%d+) %d+ (%-?%d+) ')
  return tonumber(generation), tonumber(last), tonumber(bytes)
end

-- Adds the frame to the stream, which has `bytes`; without them it replaces the stream.
local function store(bytes)
  if not REFUSAL then
    if not bytes then
      redis.call('DEL', STREAM)
    end
    redis.call('RPUSH', STREAM, string.format('%.0f ', (bytes or 0) + #FRAME) .. FRAME)
    redis.call('PEXPIRE', STREAM, TTL_MS)
  end
  redis.call(PUBLISH, CHANNEL, ARGV[6])
  return REFUSAL and {2, REFUSAL} or {1}
end
