-- Gives a consumer of a group what the group has not been given yet, unless some of it was trimmed.
-- KEYS: the stream, and the key that tells the epoch. ARGV: the group; the consumer; how many; the
-- epoch that the stream is of.
-- Returns a word and what goes with it: 'events', where the stream ends, and the entries; 'epoch' and
-- the one that is told; 'stream' or 'group' where there is none; 'gap', the last id given, and the id
-- before the first that is left.
redis.replicate_commands()
local told = redis.call('GET', KEYS[2])
if told and told ~= ARGV[4] then return {'epoch', told} end
if redis.call('EXISTS', KEYS[1]) == 0 then return {'stream'} end
local function of(list, name)
  for place = 1, #list, 2 do
    if list[place] == name then return list[place + 1] end
  end
end
local given
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  if of(group, 'name') == ARGV[1] then given = of(group, 'last-delivered-id') end
end
if not given then return {'group'} end
local ends = of(redis.call('XINFO', 'STREAM', KEYS[1]), 'last-generated-id')
local left = redis.call('XRANGE', KEYS[1], '(' .. given, '+', 'COUNT', 1)
if #left == 0 then return {'events', ends} end
local previous = of(left[1][2], 'previous')
-- A group that begins before everything makes no claim on what it does not get.
if given ~= '0-0' and previous ~= given then return {'gap', given, previous} end
local read = redis.call(
  'XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
return {'events', ends, read[1][2]}
