local generation, last, bytes = tail()
if generation and generation > GENERATION then
  return {3}
end
if generation == GENERATION then
  if LAST <= last then
    return {1}
  end
  if not REFUSAL and (FIRST ~= last + 1 or bytes + #FRAME > tonumber(ARGV[7])) then
    return {0}
  end
  return store(bytes)
end
if FIRST > 0 and not REFUSAL then
  return {0}
end
return store()
