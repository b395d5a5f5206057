-- Functions outlive their calls: what one call remembers must be forgotten when the next begins.
local beginnings = {}

local function each_call(begin) beginnings[#beginnings + 1] = begin end

local function begin_call()
  for _, begin in ipairs(beginnings) do begin() end
end

-- Redis's clock, and what texts are made of it.

local moment  -- in a call time stands still
each_call(function() moment = nil end)

local function now_ms()
  if not moment then
    local t = redis.call('TIME')
    moment = t[1] * 1000 + math.floor(t[2] / 1000)
  end
  return moment
end

local function whole(number) return string.format('%.0f', number) end

-- Milliseconds since 1970 as ISO 8601. Days to dates: Howard Hinnant's civil_from_days.
local function iso(ms)
  local seconds = math.floor(ms / 1000)
  local z = math.floor(seconds / 86400) + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  local s = seconds % 86400
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, doy - math.floor((153 * mp + 2) / 5) + 1,
    math.floor(s / 3600), math.floor(s / 60) % 60, s % 60, ms % 1000)
end

-- Seconds that go on within a call: Redis's own time stands still there, but in Redis 7.0, which has no `os`.
local function clock_seconds()
  local has_os, seconds = pcall(function() return os.clock() end)
  if has_os then return seconds end
  local t = redis.call('TIME')
  return t[1] + t[2] / 1000000
end

-- A limit on what one call may spend on searching through long lists: true when it is used up, counted from the first
-- time that it is asked.
local began
each_call(function() began = nil end)

local function out_of_time()
  began = began or clock_seconds()
  return clock_seconds() - began > SEARCH_SECONDS
end
