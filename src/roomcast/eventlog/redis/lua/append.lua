local epoch, last, count, bytes = state()
if epoch == EPOCH then
  if FIRST <= last + 1 then
    return extend(last, count, bytes)
  end
  if not REFUSAL then
    keep(TTL_MS)
    return {0, last}
  end
elseif epoch or (FIRST > 1 and not REFUSAL) then
  return {0}
end
return replace(FIRST - 1)
