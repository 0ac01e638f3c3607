-- Text as it arrives: UTF-8, percent-encoding, JSON strings.

local M = {}

local byte, char, find, format, gsub, sub =
  string.byte, string.char, string.find, string.format, string.gsub, string.sub

-- Whether all of `text` is UTF-8 as RFC 3629 has it: no overlong forms, no surrogates.
function M.is_utf8(text)
  local at = find(text, "[\128-\255]")
  while at do
    local lead, second = byte(text, at, at + 1)
    local lowest, highest, following = 128, 191, 1
    if lead >= 194 and lead <= 223 then
      following = 1
    elseif lead >= 224 and lead <= 239 then
      following = 2
      if lead == 224 then lowest = 160 elseif lead == 237 then highest = 159 end
    elseif lead >= 240 and lead <= 244 then
      following = 3
      if lead == 240 then lowest = 144 elseif lead == 244 then highest = 143 end
    else
      return false
    end
    if not second or second < lowest or second > highest then return false end
    for further = at + 2, at + following do
      local c = byte(text, further)
      if not c or c < 128 or c > 191 then return false end
    end
    -- Byte by byte, which is compiled; `find` is not.
    at = at + following + 1
    local c = byte(text, at)
    while c and c < 128 do
      at = at + 1
      c = byte(text, at)
    end
    if not c then at = nil end
  end
  return true
end

-- Returns the text without percent-encoding, or nil where that or what it stands for is malformed.
function M.percent_decoded(text)
  if find(text, "%", 1, true) then
    if find(gsub(text, "%%%x%x", ""), "%", 1, true) then return nil end
    text = gsub(text, "%%(%x%x)", function(hex) return char(tonumber(hex, 16)) end)
  end
  return M.is_utf8(text) and text or nil
end

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function utf8_char(code)
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + math.floor(code / 0x40), 0x80 + code % 0x40) end
  if code < 0x10000 then
    return char(0xE0 + math.floor(code / 0x1000), 0x80 + math.floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  end
  return char(0xF0 + math.floor(code / 0x40000), 0x80 + math.floor(code / 0x1000) % 0x40,
    0x80 + math.floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
end

-- Returns what a JSON string stands for; its escapes are known to be well-formed.
function M.json_unescaped(text)
  text = gsub(text, "\\u([dD][89abAB]%x%x)\\u(%x%x%x%x)", function(high, low)
    return utf8_char(0x10000 + (tonumber(high, 16) - 0xD800) * 0x400 + tonumber(low, 16) - 0xDC00)
  end)
  return (gsub(text, "\\(.)(%x?%x?%x?%x?)", function(letter, hex)
    if letter == "u" then return utf8_char(tonumber(hex, 16)) end
    return (ESCAPES[letter] or letter) .. hex
  end))
end

-- Returns the text as a JSON string, in quotes.
function M.json_string(text)
  return '"' .. gsub(text, '[%z\1-\31"\\\127]', function(c)
    return format("\\u%04x", byte(c))
  end) .. '"'
end

-- Returns how many single-character changes, or swaps of neighbours, turn one text into the other.
local function distance(from, to)
  local before, row = {}, {}
  for column = 0, #to do row[column] = column end
  for line = 1, #from do
    before, row = row, { [-1] = before, [0] = line }
    for column = 1, #to do
      local same = byte(from, line) == byte(to, column)
      local least = math.min(before[column] + 1, row[column - 1] + 1, before[column - 1] + (same and 0 or 1))
      if line > 1 and column > 1 and byte(from, line) == byte(to, column - 1)
        and byte(from, line - 1) == byte(to, column) then
        least = math.min(least, row[-1][column - 2] + 1)
      end
      row[column] = least
    end
    before[-1] = nil
  end
  return row[#to]
end

-- Returns the name that was probably meant, or nil. `names` maps names to anything.
function M.closest(name, names)
  if #name > 64 then return nil end
  local best, closest
  for candidate in pairs(names) do
    local far = distance(name:lower(), candidate:lower())
    if far <= math.max(1, math.floor(#candidate / 4))
      and (not best or far < best or far == best and candidate < closest) then
      best, closest = far, candidate
    end
  end
  return closest
end

-- Returns at most 100 bytes of a name for a message, cut between characters.
function M.shortened(name)
  if #name <= 100 then return name end
  return gsub(sub(name, 1, 100), "[\192-\255][\128-\191]*$", "") .. "…"
end

return M
