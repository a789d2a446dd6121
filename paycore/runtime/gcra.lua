-- GCRA for a list of limits in one round trip, on Redis's own clock.
-- KEYS[i]: one limit's key. ARGV[3i-2 .. 3i]: microseconds per unit, burst in units, units wanted.
-- Returns for each 0 when admitted, else the microseconds after which it would be.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local waits = {}
for i, key in ipairs(KEYS) do
  local interval = tonumber(ARGV[3 * i - 2])
  local burst = tonumber(ARGV[3 * i - 1])
  local wanted = tonumber(ARGV[3 * i])
  local arrival = math.max(tonumber(redis.call('GET', key) or now), now)
  local after = arrival + wanted * interval
  local early = after - burst * interval - now
  if early > 0 then
    waits[i] = math.ceil(early)
  else
    redis.call('SET', key, string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1)
    waits[i] = 0
  end
end
return waits
