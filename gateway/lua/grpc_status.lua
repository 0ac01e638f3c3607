-- google.rpc.Status as it stands in the header grpc-status-details-bin: base64 of its binary form.

local M = {}

local byte, char, floor, gsub, sub = string.byte, string.char, math.floor, string.gsub, string.sub

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local VALUES = {}
for place = 1, #ALPHABET do VALUES[byte(ALPHABET, place)] = place - 1 end

local function decoded(base64)
  local parts, bits, value = {}, 0, 0
  for place = 1, #base64 do
    local six = VALUES[byte(base64, place)]
    if not six then break end
    value, bits = value * 64 + six, bits + 6
    if bits >= 8 then
      bits = bits - 8
      local power = 2 ^ bits
      parts[#parts + 1] = char(floor(value / power))
      value = value % power
    end
  end
  return table.concat(parts)
end

local function varint(bytes, at)
  local value, power = 0, 1
  while true do
    local b = byte(bytes, at) or 0
    value, power, at = value + b % 128 * power, power * 128, at + 1
    if b < 128 then return value, at end
  end
end

-- Calls `take(number, value)` for each field of a message that holds numbers, texts and messages alone.
local function each_field(bytes, take)
  local at, key, value = 1, nil, nil
  while at <= #bytes do
    key, at = varint(bytes, at)
    value, at = varint(bytes, at)
    if key % 8 == 2 then
      local from = at
      at = at + value
      value = sub(bytes, from, at - 1)
    end
    take(floor(key / 8), value)
  end
end

-- Returns {code, message, details}, the details a list of {type, value}: full name and binary form.
function M.parse(base64)
  local status = { code = 0, message = "", details = {} }
  each_field(decoded(base64), function(number, value)
    if number == 1 then status.code = value end
    if number == 2 then status.message = value end
    if number == 3 then
      local detail = { type = "", value = "" }
      each_field(value, function(inner, part)
        if inner == 1 then detail.type = gsub(part, "^.*/", "") end
        if inner == 2 then detail.value = part end
      end)
      table.insert(status.details, detail)
    end
  end)
  return status
end

return M
