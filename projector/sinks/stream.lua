-- Adds events to a stream, if it ends where it is thought to.
-- KEYS: the stream, and what tells readers of its epoch. ARGV: its last entry's id, '' where there is to
-- be no stream; how many entries to keep; the fields' names as JSON; the events, as JSON: of each its
-- entry's id, then its values; and the epoch.
-- Returns 1 and the last id now, or 0 and where the stream really ends, '' where there is none.
-- Up to version 6.2 scripts were replicated as such unless this is said.
redis.replicate_commands()
local ends = ''
if redis.call('EXISTS', KEYS[1]) == 1 then
  local told = redis.call('XINFO', 'STREAM', KEYS[1])
  for place = 1, #told, 2 do
    if told[place] == 'last-generated-id' then ends = told[place + 1] end
  end
end
if ends ~= ARGV[1] then return {0, ends} end
-- Gone with everything else where Redis was emptied while there was no event yet.
local epoch = redis.call('GET', KEYS[2])
if not epoch or tonumber(epoch) < tonumber(ARGV[5]) then redis.call('SET', KEYS[2], ARGV[5]) end
local names = cjson.decode(ARGV[3])
for _, event in ipairs(cjson.decode(ARGV[4])) do
  local words = {'XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], event[1]}
  for place, name in ipairs(names) do
    words[#words + 1] = name
    words[#words + 1] = event[place + 1]
  end
  ends = redis.call(unpack(words))
end
return {1, ends}
