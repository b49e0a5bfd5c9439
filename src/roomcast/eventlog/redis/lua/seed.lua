-- Answers {last}. Without records, FIRST is the seq after the head.
local last = ending()
if not last or FIRST > last + 1 then
  -- Absent, of another epoch, or one whose past would have a hole: begin anew with what was given.
  last = FIRST - 1
  create(last)
end
return {extend(last)}
