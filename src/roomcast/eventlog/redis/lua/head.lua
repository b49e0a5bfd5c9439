-- KEYS  meta, entries    ARGV  ttl ms
-- Returns {epoch, last}, or {} if there is no log.
local epoch, last = state()
if not epoch then
  return {}
end
keep(ARGV[1])
return {epoch, decimal(last)}
