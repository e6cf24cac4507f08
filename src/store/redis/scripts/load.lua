-- Reads what is kept of channels, each past an id, until one call has read enough.
--
-- ARGV: 1 prefix, 2 epoch, 3 age (ms), 4 how many events and 5 bytes are enough. Then for each channel: its name, and the
--   id past which to read
-- Reply: head, then for each channel that was read, in the order asked: 1 if all of it was read and 0 if there is more,
--   up to which id events may be gone, its newest id, events as id, entry, id, entry…, and what its user has read, as
--   `marks` keeps it, each member followed by its score
local P, epoch, AGE, ENOUGH, ENOUGH_BYTES = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
-- So many events are asked for at once.
local PIECE = 64
local ns = P .. epoch .. ':'
local h = redis.call('HMGET', P .. 'head', 'epoch', 'seq')
if h[1] ~= epoch then return redis.error_reply('ANEW another epoch') end
local t = redis.call('TIME')
local cutoff = t[1] * 1000 + math.floor(t[2] / 1000) - AGE

local forgotten_id
local function forgotten()
  if not forgotten_id then
    local first = redis.call('ZRANGEBYSCORE', ns .. 'times', string.format('%d', cutoff), '+inf', 'LIMIT', 0, 1)
    forgotten_id = first[1] or h[2]
  end
  return forgotten_id
end

local reply, events, bytes = {h[2]}, 0, 0
for i = 6, #ARGV, 2 do
  if events >= ENOUGH or bytes >= ENOUGH_BYTES then break end
  local channel, since = ARGV[i], ARGV[i + 1]
  local log = ns .. 'log:' .. channel
  local last, lost = string.match(redis.call('HGET', ns .. 'meta:' .. channel, 'at') or '', '^(%d+) (%d+)')
  last, lost = last or '0', lost or forgotten()
  local found, all = {}, 1
  if last ~= '0' and tonumber(last) > tonumber(since) then
    local any = false
    while true do
      local piece = redis.call('XRANGE', log, '(' .. since .. '-0', '+', 'COUNT', PIECE)
      for _, entry in ipairs(piece) do
        any = true
        local id, value = string.match(entry[1], '%d+'), entry[2][2]
        since = id
        if tonumber(string.match(value, '^%d+')) < cutoff then
          -- Too old, and not dropped yet.
          lost = id
        else
          found[#found + 1] = id
          found[#found + 1] = value
          events, bytes = events + 1, bytes + #value
        end
      end
      if #piece < PIECE then break end
      if events >= ENOUGH or bytes >= ENOUGH_BYTES then
        all = 0
        break
      end
    end
    -- Its newest event is always there, unless it is lost: too old, or too large to be kept at all.
    if not any then lost = last end
  end
  local marks = string.sub(channel, 1, 5) == 'user:' and all == 1
    and redis.call('ZRANGE', ns .. 'read:' .. channel, 0, -1, 'WITHSCORES') or {}
  bytes = bytes + 128 + 16 * #marks
  reply[#reply + 1] = {all, lost, last, found, marks}
end
return reply
