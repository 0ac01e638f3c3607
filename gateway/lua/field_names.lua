-- Names of fields as callers write them in queries and in masks: with dots, in the protos' style or JSON's.

local text = require("text")

local M = {}

local find, gmatch, match = string.find, string.gmatch, string.match

local NO_NAMES = {}
-- As in billing/options/v1/limits.proto; more would take long to look at.
local MOST_PATHS = 100

-- Returns what stands behind the last dot. To look for it from the front would take seconds: from each place anew.
function M.last_part(name)
  return match(name, "^.*%.(.*)$") or name
end

-- Follows `person.email` through the types. Returns the field and its path in the protos' names, or
-- nil, the names that would have fitted, and the path before them.
function M.resolve(name, fields, messages)
  local canonical, before, field = nil, "", nil
  for part in gmatch(name .. ".", "([^.]*)%.") do
    if field then
      fields = field.kind == "message" and not field.many and messages[field.of] or NO_NAMES
      before = canonical .. "."
    end
    field = fields[part]
    if not field then return nil, fields, before end
    canonical = before .. field.name
  end
  return field, canonical
end

-- Returns what is wrong with one path of a mask; nil for nothing.
local function path_problem(path, names, messages)
  if path == "" then return "A comma has nothing before or behind it." end
  local field, fitting = M.resolve(path, names, messages)
  if field or path == "*" then return nil end
  local first, key = match(path, "^([^.]*)%.(.*)$")
  local outer = first and names[first]
  if outer and outer.many == "map" then
    -- All else of keys is the server's to check.
    return find(key, "%u") and "The key " .. text.shortened(key) .. " can't have capital letters." or nil
  end
  local meant = text.closest(M.last_part(path), fitting)
  return "There is no field " .. text.shortened(path) .. (meant and "; did you mean " .. meant .. "?" or ".")
end

-- Returns what is wrong with a mask of a message's fields, by their names; nil for nothing. The
-- transcoder would write its paths in snake case, so that `Url` and `URL` are `url`, and `labels.A` is
-- `labels.a`; and it passes over empty ones.
function M.mask_problem(mask, names, messages)
  if mask == "" then return nil end
  local count = 0
  for path in gmatch(mask .. ",", "([^,]*),") do
    count = count + 1
    if count > MOST_PATHS then return "It must name at most " .. MOST_PATHS .. " fields." end
    local problem = path_problem(path, names, messages)
    if problem then return problem end
  end
  return nil
end

return M
