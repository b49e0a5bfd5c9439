-- Part of every script that writes. Runs a write command. Returns nil, or the error if Redis accepts no writes because it
-- lacks memory (OOM), replicas (NOREPLICAS) or disk (MISCONF): it publishes meanwhile. Redis reports WRONGTYPE only after
-- these checks. Any other error ends the script.
local function refused(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err or string.find(reply.err, 'WRONGTYPE', 1, true) then
    return nil
  end
  for _, code in ipairs({'OOM ', 'NOREPLICAS ', 'MISCONF '}) do
    if string.find(reply.err, code, 1, true) then
      return reply.err
    end
  end
  return redis.call(...)
end
