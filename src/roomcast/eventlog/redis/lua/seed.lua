-- Without records, FIRST is the seq after the head.
local epoch, last, count, bytes = state()
if epoch == EPOCH and FIRST <= last + 1 then
  return extend(last, count, bytes)
end
-- There is no log, or it has another epoch, or it would have a gap: start a new log with the given records.
return replace(FIRST - 1)
