-- Returns {last}. Without records, FIRST is the seq after the head.
local last = ending()
if not last or FIRST > last + 1 then
  -- There is no log, or it has another epoch, or it would have a gap: start a new log with the given records.
  last = FIRST - 1
  create(last)
end
return {extend(last)}
