-- Part of every script that reads a key which another client may have written. Runs a command; returns nil if its key has
-- another type.
local function read(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then
    return reply
  end
  if not string.find(reply.err, 'WRONGTYPE ', 1, true) then
    return redis.call(...)
  end
end
