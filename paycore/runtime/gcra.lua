-- GCRA for a list of limits in one round trip, on Redis's own clock.
-- KEYS[i]: one limit's key. ARGV[4i-3 .. 4i]: microseconds per unit, burst in units, units wanted,
-- units taken ahead if there is room for them too.
-- Returns for each a pair: 0 when admitted, else the microseconds after which it would be; and the
-- units taken ahead.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local decisions = {}
for i, key in ipairs(KEYS) do
  local interval = tonumber(ARGV[4 * i - 3])
  local burst = tonumber(ARGV[4 * i - 2])
  local wanted = tonumber(ARGV[4 * i - 1])
  local ahead = tonumber(ARGV[4 * i])
  local arrival = math.max(tonumber(redis.call('GET', key) or now), now)
  local room = burst * interval + now - arrival
  local early = wanted * interval - room
  if early > 0 then
    decisions[i] = {math.ceil(early), 0}
  else
    if (wanted + ahead) * interval > room then
      ahead = 0
    end
    local after = arrival + (wanted + ahead) * interval
    redis.call('SET', key, string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1)
    decisions[i] = {0, ahead}
  end
end
return decisions
