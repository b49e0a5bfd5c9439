-- KEYS  a name that no key has
-- Runs each command that README.md's ACL rules allow on this key, and deletes it. Returns the names of those that the
-- user may not run, or the error of a replica.
local key = KEYS[1]
local commands = {
  {'time'}, {'publish', key, ''}, {'exists', key}, {'type', key},
  {'set', key, 'x'}, {'setrange', key, 0, ''}, {'pexpire', key, 10000}, {'del', key},
  {'rpush', key, 'a'}, {'llen', key}, {'lrange', key, 0, -1}, {'lpop', key}, {'unlink', key},
  {'hset', key, 'f', 'v'}, {'hsetnx', key, 'f', 'v'}, {'hget', key, 'f'}, {'hmget', key, 'f'}, {'hexists', key, 'f'},
  {'hlen', key}, {'hkeys', key}, {'hdel', key, 'f'},
  {'zadd', key, 1, 'm'}, {'zrange', key, 0, -1}, {'zrangebyscore', key, 0, 1}, {'zrem', key, 'm'},
}
local denied = {}
for _, command in ipairs(commands) do
  local reply = redis.pcall(unpack(command))
  local text = type(reply) == 'table' and reply.err or ''
  if string.find(text, 'READONLY', 1, true) then
    return reply
  end
  if string.find(text, 'NOPERM', 1, true) or string.find(text, "can't", 1, true)
      or string.find(text, 'ACL failure', 1, true) then
    denied[#denied + 1] = command[1]
  end
end
return denied
