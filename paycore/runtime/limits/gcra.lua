-- GCRA for a list of calls in one round trip, on Redis's own clock. Each call draws on one limit or
-- several, and takes from all of them or from none.
-- KEYS: the limits' keys, call by call, those of one call all different. ARGV[1], all of it doubles:
-- for each call how many limits it has, then for each of them: microseconds per unit, burst in
-- units, units wanted, units taken ahead if there is room for them too.
-- Returns doubles too, three for each call: 0 when admitted, else the microseconds after which it
-- would be; the place among its limits of the one that makes it wait longest, from 1, else 0; and
-- the units taken ahead.
-- A limit may have changed since its key was written. What is kept is the time at which all that was
-- used has come back. Where that is later than the limit of now can make it, it is brought forward at
-- once, admitted or not: nobody waits longer than for the whole burst of now.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local figures, at = ARGV[1], 1
local decisions = {}
local key = 1
while key <= #KEYS do
  local count
  count, at = struct.unpack('<d', figures, at)
  local arrivals = redis.call('MGET', unpack(KEYS, key, key + count - 1))
  local worst, place, ahead = 0, 0, 0
  local after = {}
  for i = 1, count do
    local interval, burst, wanted, more
    interval, burst, wanted, more, at = struct.unpack('<dddd', figures, at)
    local arrival = math.max(tonumber(arrivals[i] or now), now)
    local latest = now + burst * interval
    if arrival > latest + 1 then
      arrival = latest
      local text = string.format('%.0f', arrival)
      redis.call('SET', KEYS[key + i - 1], text, 'PX', math.ceil((arrival - now) / 1000) + 1)
    end
    local room = burst * interval + now - arrival
    local early = wanted * interval - room
    if early > 0 then
      if early > worst then
        worst, place = early, i
      end
    else
      if (wanted + more) * interval <= room then
        ahead = ahead + more
        wanted = wanted + more
      end
      after[i] = arrival + wanted * interval
    end
  end
  if place == 0 then
    for i = 1, count do
      local text = string.format('%.0f', after[i])
      redis.call('SET', KEYS[key + i - 1], text, 'PX', math.ceil((after[i] - now) / 1000) + 1)
    end
  else
    ahead = 0
  end
  decisions[#decisions + 1] = struct.pack('<ddd', math.ceil(worst), place, ahead)
  key = key + count
end
return table.concat(decisions)
