local generation = tail()
if generation and generation > GENERATION then
  return {3}
end
return store()
