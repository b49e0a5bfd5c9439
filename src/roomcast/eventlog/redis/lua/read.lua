-- KEYS  meta, entries    ARGV  ttl ms, epoch, after, limit
-- Returns {} if there is no log, {epoch, last} if the log cannot replay from `after`, else {epoch, last, records, more}
-- with more = 1 if there are further records, else 0.
local epoch, last, count = state()
if not epoch then
  return {}
end
keep(ARGV[1])
local after, limit = tonumber(ARGV[3]), tonumber(ARGV[4])
if epoch ~= ARGV[2] or after < last - count or after > last then
  return {epoch, decimal(last)}
end
local start = after - (last - count)
local records = {}
if start < count and limit > 0 then
  records = redis.call('LRANGE', ENTRIES, start, start + limit - 1)
end
return {epoch, decimal(last), records, start + #records < count and 1 or 0}
