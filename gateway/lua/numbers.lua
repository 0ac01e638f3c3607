-- Numbers, durations and times as they are written, compared with the type of the field that they are for.
--
-- The transcoder would refuse one that does not fit by itself, without naming the field as a detail.
--
-- A pattern that can fail has no two parts, one behind the other, that take the same character: before it does,
-- all ways to share a text out between them are tried, which takes seconds for a kilobyte.

local M = {}

local find, match, sub = string.find, string.match, string.sub

-- The digits of the least, if that is below zero, and of the most.
local RANGES = {
  int32 = { least = "2147483648", most = "2147483647" },
  uint32 = { most = "4294967295" },
  int64 = { least = "9223372036854775808", most = "9223372036854775807" },
  uint64 = { most = "18446744073709551615" },
}
local WHOLE = "It must be a whole number."
-- Of a Duration: some 10,000 years.
local MOST_SECONDS = 315576000000
local DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
-- No number that fits is longer; what is longer is not read.
local LONGEST = 1000

-- Whether `written` is digits, perhaps with a fraction and an exponent, either of which may be empty. In steps,
-- each of which goes on where the one before has ended.
local function is_decimal(written)
  local _, last = find(written, "^%-?%d+%.?")
  if not last then return false end
  _, last = find(written, "^%d*[eE]?[+-]?", last + 1)
  return find(written, "^%d*$", last + 1) ~= nil
end

local function out_of(range)
  return "It must be from " .. (range.least and "-" .. range.least or "0") .. " to " .. range.most .. "."
end

local function is_at_most(digits, most)
  return #digits < #most or #digits == #most and digits <= most
end

-- Returns what is wrong with `written` as a number of the range; nil for nothing.
function M.integer_problem(written, range_name)
  local range = RANGES[range_name]
  local sign, digits = match(written, "^(%-?)(%d+)$")
  if not digits then
    if #written > LONGEST or not is_decimal(written) then return WHOLE end
    local value = tonumber(written)
    if not value then return WHOLE end
    -- A double tells these apart exactly; whole ones beyond are refused as out of range.
    if value >= 2 ^ 63 or value < -2 ^ 63 then return out_of(range) end
    if value ~= math.floor(value) then return WHOLE end
    sign, digits = match(string.format("%.0f", value), "^(%-?)(%d+)$")
  end
  digits = match(digits, "^0*(%d+)$")
  if digits == "0" then return nil end
  local limit = range.most
  if sign == "-" then limit = range.least end
  if not limit or not is_at_most(digits, limit) then return out_of(range) end
  return nil
end

-- Returns what is wrong with `written` as a number with a fraction; nil for nothing.
function M.double_problem(written)
  if #written <= LONGEST and is_decimal(written) then
    local value = tonumber(written)
    if value and value > -math.huge and value < math.huge then return nil end
    return "It must be a number that a double can hold."
  end
  return "It must be a number."
end

-- Returns what is wrong with a text as a Duration in JSON; nil for nothing.
function M.duration_problem(written)
  local seconds, fraction
  if #written <= LONGEST then
    seconds, fraction = match(written, "^%-?(%d+)s$"), ""
    if not seconds then seconds, fraction = match(written, "^%-?(%d+)(%.%d+)s$") end
  end
  if not seconds or #fraction > 10 then
    return "It must be a number of seconds with at most nine digits behind the point and an s, such as 3600s."
  end
  if #seconds > 12 or tonumber(seconds) > MOST_SECONDS then
    return "It must be from -" .. MOST_SECONDS .. "s to " .. MOST_SECONDS .. "s."
  end
  return nil
end

local function days_in(month, year)
  if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then return 29 end
  return DAYS[month] or 0
end

-- Whether a time of day is within the first year and the last in UTC too, on a day in a zone such as +03:00.
local function is_within_time(day, minutes, sign, hours, rest)
  local away = tonumber(hours) * 60 + tonumber(rest)
  if day == "0001-01-01" and sign == "+" then return away <= minutes end
  return day ~= "9999-12-31" or sign == "+" or minutes + away < 24 * 60
end

-- Returns what is wrong with a text as a Timestamp in JSON (RFC 3339); nil for nothing.
function M.time_problem(written)
  local year, month, day, hour, minute, second, fraction, zone =
    match(written, "^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d)(%.?%d*)(.+)$")
  if not year or fraction == "." or #fraction > 10 or not (zone == "Z" or find(zone, "^[+-]%d%d:%d%d$")) then
    return "It must be a time such as 2030-01-31T12:00:00Z."
  end
  local of_month = tonumber(day)
  if year == "0000" or of_month < 1 or of_month > days_in(tonumber(month), tonumber(year))
    or tonumber(hour) > 23 or tonumber(minute) > 59 or tonumber(second) > 59 then
    return "There is no such time."
  end
  if zone == "Z" then return nil end
  local sign, hours, rest = match(zone, "^(.)(%d%d):(%d%d)$")
  if tonumber(hours) > 23 or tonumber(rest) > 59
    or not is_within_time(sub(written, 1, 10), tonumber(hour) * 60 + tonumber(minute), sign, hours, rest) then
    return "There is no such time."
  end
  return nil
end

local NAMED = { NaN = true, Infinity = true, ["-Infinity"] = true }

-- Returns what is wrong with the text of a field that is not a text; nil for nothing.
-- `is_text` tells that it stood in quotes, or in a query.
function M.problem(written, field, is_text)
  local kind = field.kind
  if kind == "integer" then return M.integer_problem(written, field.range) end
  if kind == "number" then
    if is_text and NAMED[written] then return nil end
    return M.double_problem(written)
  end
  if kind == "duration" then return M.duration_problem(written) end
  if kind == "timestamp" then return M.time_problem(written) end
  if kind == "enum" then
    if not is_text or find(written, "^%-?%d+$") then return M.integer_problem(written, "int32") end
    if not field.values[written] then return "There is no such value." end
  end
  return nil
end

return M
