-- Takes permits by the generic cell rate algorithm. What is kept of a key is the theoretical arrival time of its next
-- request, in microseconds by the clock of Redis.
-- Of each key: interval (microseconds), permits, how many are needed, how many more would be welcome.
-- Answers of each key: permits granted, permits left, microseconds until one is left where fewer than needed were.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answer = {}
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 4
  local interval, permits = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local need, more = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local window = interval * permits
  local arrival = tonumber(redis.call('GET', key) or now) or now
  -- Further ahead than a window is a clock that was set back, or a limit that was lowered.
  arrival = math.min(math.max(arrival, now), now + window)
  local free = math.floor((now + window - arrival) / interval)
  local granted = math.min(free, need)
  if free > need then
    -- Half of what is left stays for other replicas.
    granted = need + math.min(more, math.floor((free - need) / 2))
  end
  if granted > 0 then
    arrival = arrival + granted * interval
    local life = math.ceil((arrival - now) / 1000)
    redis.call('SET', key, string.format('%.0f', arrival), 'PX', string.format('%.0f', life))
  end
  local wait = 0
  if granted < need then
    wait = arrival + interval - now - window
  end
  answer[#answer + 1] = granted
  answer[#answer + 1] = free - granted
  answer[#answer + 1] = wait
end
return answer
