-- Returns {last}. Without records, FIRST is the seq after the head.
local last = ending()
if not last or FIRST > last + 1 then
  -- No log, one of another epoch, or one that would have a gap: start over with the given records.
  last = FIRST - 1
  create(last)
end
return {extend(last)}
