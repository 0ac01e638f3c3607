-- Reads a JSON text once (RFC 8259) and compares it with a message type.
--
-- The transcoder's own parser drops unknown names, lets the last of two equal names win and takes
-- single quotes, comments and trailing commas; so callers learn of these here alone.

local field_names = require("field_names")
local numbers = require("numbers")
local text_of = require("text")

local M = {}

local byte, find, sub = string.byte, string.find, string.sub
local json_unescaped, shortened = text_of.json_unescaped, text_of.shortened

-- Below the depth at which the transcoder's parser gives up.
local DEEPEST = 64
local MOST_VIOLATIONS = 50
-- Values, names and escapes that are read: several times what the largest request needs. A megabyte
-- of them would keep Envoy's thread for 70 ms.
local MOST_STEPS = 20000
-- Bytes of a name, or of a number in quotes, that is read as it is meant; what is longer is none.
local LONGEST_NAME = 1000

-- What each kind of field takes: the token's class -> true. A field without a kind takes all.
local TAKES = {
  string = { string = true },
  bool = { boolean = true },
  integer = { number = true, string = true },
  number = { number = true, string = true },
  enum = { string = true, number = true },
  duration = { string = true },
  timestamp = { string = true },
  mask = { string = true },
  message = { object = true },
  struct = { object = true },
  list = { array = true },
}
local CALLED = {
  string = "a string", bool = "true or false", integer = "a whole number", number = "a number",
  enum = "the name of a value", duration = "a string", timestamp = "a string",
  mask = "a string",
  message = "an object", struct = "an object", list = "an array",
}

-- The check that is under way; nothing yields during one. `lists` counts the lists, maps and objects of free
-- form around the place that is read, `uncut` tells that something there has to be left out, `cuts` what is:
-- {from, behind}; `is_misshapen` tells that the transcoder would not take the rest.
local text, messages, bound, violations, path, depth, steps, lists, uncut, cuts, is_misshapen

local function stop(at, problem)
  error({ at = at, problem = problem }, 0)
end

-- Counts what is read; stops where it is too much.
local function step(at)
  steps = steps + 1
  if steps > MOST_STEPS then error({ at = at, too_much = true }, 0) end
end

-- Returns the place that is being read: `person.`, `customers[0].`.
local function place()
  local written = ""
  for level = 1, depth do
    local step = path[level]
    if type(step) == "number" then
      written = sub(written, 1, -2) .. "[" .. step .. "]."
    else
      written = written .. shortened(step) .. "."
    end
  end
  return written
end

-- Notes what is wrong with what the transcoder passes over.
local function note(description, name)
  if #violations >= MOST_VIOLATIONS then return end
  local field = name and place() .. shortened(name) or sub(place(), 1, -2)
  violations[#violations + 1] = { field = field, description = description }
end

-- Notes what is wrong with a value that the transcoder would take otherwise, or not at all.
local function violation(description, name)
  uncut = true
  note(description, name)
end

-- Leaves a value out, and with it what was to be left out of it.
local function cut(from, behind)
  while cuts[1] and cuts[#cuts].from >= from do cuts[#cuts] = nil end
  cuts[#cuts + 1] = { from = from, behind = behind }
  uncut = false
end

-- Returns the text with null, which every field of a message takes, for what is left out.
local function remainder()
  local parts, from = {}, 1
  for place, each in ipairs(cuts) do
    parts[place] = sub(text, from, each.from - 1)
    from = each.behind
  end
  parts[#parts + 1] = sub(text, from)
  return table.concat(parts, "null")
end

local function unknown(name, fields)
  if #violations >= MOST_VIOLATIONS then return end
  local meant = text_of.closest(name, fields)
  if not meant then
    for outer, field in pairs(fields) do
      if field.kind == "message" and not field.many and messages[field.of] and messages[field.of][name]
        and (not meant or outer < meant) then
        meant = outer .. "." .. name
      end
    end
  end
  if meant then
    note("There is no such field; did you mean " .. place() .. meant .. "?", name)
  else
    note("There is no such field.", name)
  end
end

local function space(at)
  local c = byte(text, at)
  while c == 32 or c == 10 or c == 13 or c == 9 do
    at = at + 1
    c = byte(text, at)
  end
  return at, c
end

-- `at` is a backslash; returns where the text goes on.
local function escape(at)
  step(at)
  local letter = sub(text, at + 1, at + 1)
  if letter ~= "u" then
    if letter == "" or not find('"\\/bfnrt', letter, 1, true) then stop(at, "no such escape exists") end
    return at + 2
  end
  if not find(text, "^%x%x%x%x", at + 2) then stop(at, "\\u needs four hexadecimal digits") end
  if find(text, "^[dD][89abAB]", at + 2) then
    if not find(text, "^\\u[dD][c-fC-F]%x%x", at + 6) then stop(at, "half of a surrogate pair") end
    return at + 12
  end
  if find(text, "^[dD][c-fC-F]", at + 2) then stop(at, "half of a surrogate pair") end
  return at + 6
end

-- `at` is just behind the opening quote; returns where the text goes on behind the closing one.
local function string_end(at)
  while true do
    at = find(text, '[%z\1-\31"\\]', at)
    if not at then stop(#text + 1, "the text ends within a string") end
    local c = byte(text, at)
    if c == 34 then return at + 1 end
    if c ~= 92 then stop(at, "a control character within a string must be escaped") end
    at = escape(at)
  end
end

local function number_end(at)
  local _, last = find(text, "^-?%d+", at)
  if not last or find(text, "^-?0%d", at) then stop(at, "a value is expected") end
  local c = byte(text, last + 1)
  if c == 46 then
    _, last = find(text, "^%d+", last + 2)
    if not last then stop(at, "a value is expected") end
    c = byte(text, last + 1)
  end
  if c == 69 or c == 101 then
    _, last = find(text, "^[+-]?%d+", last + 2)
    if not last then stop(at, "a value is expected") end
  end
  return last + 1
end

local value

local function enter(at)
  depth = depth + 1
  if depth > DEEPEST then stop(at, "more than " .. DEEPEST .. " levels are nested") end
end

-- `fields` are those of a message, or nil where names are free; `element` is a map's value.
local function object(at, fields, element)
  local seen, c = {}, nil
  at, c = space(at + 1)
  if c == 125 then return at + 1 end
  while true do
    if c ~= 34 then stop(at, "a name in double quotes is expected") end
    local behind = string_end(at + 1)
    step(at)
    local name = sub(text, at + 1, behind - 2)
    if #name <= LONGEST_NAME and find(name, "\\", 1, true) then name = json_unescaped(name) end
    local field = element
    if fields then
      field = fields[name]
      if not field then
        unknown(name, fields)
        is_misshapen = is_misshapen or name == ""
      elseif depth == 0 and bound[field.name] == true then
        violation("The path says what this is.", name)
      end
    end
    local same = fields and field or name
    if seen[same] then violation("The field is given twice.", name) end
    seen[same] = true
    at, c = space(behind)
    if c ~= 58 then stop(at, "a colon is expected") end
    at, c = space(at + 1)
    if field and field.oneof and c ~= 110 then
      if seen[field.oneof] then
        violation("Only one of this and " .. seen[field.oneof] .. " can be set.", name)
      end
      seen[field.oneof] = name
    end
    enter(at)
    path[depth] = name
    local begin, first, before = at, c, uncut
    uncut = false
    at = value(at, c, field, fields and field and field.many)
    depth = depth - 1
    -- What stands in the body would hold, and not what stands in the path.
    local said = depth == 0 and fields and field and bound[field.name]
    if said and said ~= true and first == 34 and json_unescaped(sub(text, begin + 1, at - 2)) ~= said then
      violation("It must be what the path says, or be left out.", name)
    end
    uncut = uncut or before
    if uncut and lists == 0 then cut(begin, at) end
    at, c = space(at)
    if c == 125 then return at + 1 end
    if c ~= 44 then stop(at, "a comma or a closing brace is expected") end
    at, c = space(at + 1)
  end
end

local function array(at, element)
  local index, c = 0, nil
  at, c = space(at + 1)
  if c == 93 then return at + 1 end
  while true do
    enter(at)
    path[depth] = index
    if element and element.kind and c == 110 then violation("An element can't be null.") end
    at, c = space(value(at, c, element))
    depth = depth - 1
    index = index + 1
    if c == 93 then return at + 1 end
    if c ~= 44 then stop(at, "a comma or a closing bracket is expected") end
    at, c = space(at + 1)
  end
end

local function literal(at, word)
  if sub(text, at, at + #word - 1) ~= word then stop(at, "a value is expected") end
  return at + #word
end

local function compare(written, field, is_text)
  if is_text and #written <= LONGEST_NAME and find(written, "\\", 1, true) then written = json_unescaped(written) end
  local problem = numbers.problem(written, field, is_text)
  if field.mask then problem = field_names.mask_problem(written, messages[field.mask], messages) end
  if problem then violation(problem) end
end

-- Reads the value that begins at `at` with character `c`. `field` says what it should be, `many`
-- that it is a "list" of those or a "map" to them. Returns where the text goes on.
function value(at, c, field, many)
  step(at)
  local kind = field and field.kind
  if many then kind = many == "map" and "struct" or "list" end
  if c == 34 then
    local behind = string_end(at + 1)
    if kind and not TAKES[kind].string then
      violation("It must be " .. CALLED[kind] .. ".")
    elseif kind and kind ~= "string" then
      compare(sub(text, at + 1, behind - 2), field, true)
    end
    return behind
  elseif c == 123 then
    if kind and not TAKES[kind].object then
      violation("It must be " .. CALLED[kind] .. ".")
      field, kind = nil, nil
    end
    local fields = many ~= "map" and kind == "message" and messages[field.of]
    if fields then return object(at, fields) end
    lists = lists + 1
    at = object(at, nil, many == "map" and field or nil)
    lists = lists - 1
    return at
  elseif c == 91 then
    if kind and not TAKES[kind].array then
      violation("It must be " .. CALLED[kind] .. ".")
      field, many = nil, nil
    end
    lists = lists + 1
    at = array(at, many == "list" and field or nil)
    lists = lists - 1
    return at
  elseif c == 110 then
    return literal(at, "null")
  elseif c == 116 or c == 102 then
    if kind and not TAKES[kind].boolean then violation("It must be " .. CALLED[kind] .. ".") end
    return literal(at, c == 116 and "true" or "false")
  elseif not c then
    stop(at, "the text ends too early")
  end
  local behind = number_end(at)
  if kind and not TAKES[kind].number then
    violation("It must be " .. CALLED[kind] .. ".")
  elseif kind then
    compare(sub(text, at, behind - 1), field, false)
  end
  return behind
end

local function read(field)
  local at, c = space(1)
  if not (c == 123 or field.kind ~= "message" or field.many) then
    stop(at, "an object in braces is expected")
  end
  at, c = space(value(at, c, field, field.many))
  if c then stop(at, "nothing is expected behind the value") end
end

-- Compares `body` with `field`; `names_bound` holds the fields that the path has already filled: true,
-- or what the body may say again.
-- Returns a list of {field, description} and the body without those values, nil where there is no such; or nil
-- and what is wrong with the text as JSON.
function M.check(body, field, message_types, names_bound)
  if not text_of.is_utf8(body) then return nil, "The body is not UTF-8." end
  text, messages, bound, violations, path, depth, steps = body, message_types, names_bound, {}, {}, 0, 0
  lists, uncut, cuts, is_misshapen = 0, false, {}, false
  local fine, problem = pcall(read, field)
  if not fine and type(problem) == "table" and problem.too_much then
    if #violations >= MOST_VIOLATIONS then violations[#violations] = nil end
    violation("With it, the body holds more values, names and escapes than are read, " .. MOST_STEPS .. ".")
    fine = true
  end
  local found = violations
  local rest = fine and found[1] and not (uncut or is_misshapen) and remainder() or nil
  text, violations, path, cuts = nil, nil, nil, nil
  if fine then return found, rest end
  if type(problem) ~= "table" then error(problem, 0) end
  return nil, "The body is not JSON: " .. problem.problem .. ", at byte " .. problem.at .. "."
end

return M
