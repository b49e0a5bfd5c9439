-- Returns {1, last} after an append; otherwise writes no record and returns {0, last} (a gap) or {0} (no log, or a log
-- of another epoch).
local last = ending()
if not last then
  if FIRST ~= 1 or redis.call('HEXISTS', META, 'epoch') == 1 then
    return {0}
  end
  create(0)
  last = 0
end
if FIRST > last + 1 then
  keep()
  return {0, last}
end
return {1, extend(last)}
