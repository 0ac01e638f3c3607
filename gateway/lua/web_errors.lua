-- Errors as clients of gRPC-Web and Connect read them. Envoy's filters leave its own refusals with an
-- HTTP status alone, and Connect's with details whose types have URLs and a message in percent-encoding.
-- And what gRPC-Web's callers accept, which Envoy's filter reads too narrowly.

local grpc_status = require("grpc_status")
local text = require("text")

local M = {}

local byte, char, find, floor, format, gsub, lower, sub, upper = string.byte, string.char, string.find,
  math.floor, string.format, string.gsub, string.lower, string.sub, string.upper
local json_string = text.json_string

local METADATA = "web_errors"
local DOMAIN, INFO = "billing.example.com", "google.rpc.ErrorInfo"
local UNARY, STREAM, JSON_STREAM = "application/proto", "application/connect+proto", "application/connect+json"
local TEXT = "application/grpc-web-text"
local DETAILS = "grpc-status-details-bin"
-- Bytes of a frame before its content: a flag, and the content's length.
M.FRAME = 5
M.COMPRESSED = 1
-- The flag of the last frame of a stream, which holds JSON.
local LAST = 2
local CODES = {
  "canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists",
  "permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range",
  "unimplemented", "internal", "unavailable", "data_loss", "unauthenticated",
}
-- HTTP statuses that the bridge has from an earlier version of the protocol.
local STATUSES = {
  canceled = "499", deadline_exceeded = "504", failed_precondition = "400", unimplemented = "501",
}

local NUMBERS = {}
for number, name in ipairs(CODES) do NUMBERS[name] = number end
-- Sent on in the place of a frame that begins with no flag: a frame whose message nothing can read.
local UNREADABLE = "\0\0\0\0\1\255"

-- Notes the code for the access log (gateway/access_log.py), which finds none in Connect's answers.
local function note(handle, code)
  handle:streamInfo():dynamicMetadata():set("answer", "grpc_status", code)
end

-- A field of a message that is a text or a message, of less than 16 KiB.
local function field(number, value)
  local size = #value
  local length = size < 128 and char(size) or char(size % 128 + 128, floor(size / 128))
  return char(number * 8 + 2) .. length .. value
end

-- Returns a detail in Connect's JSON, of its type's name and its binary form.
local function detail_json(handle, type, value)
  return '{"type":"' .. type .. '","value":"' .. gsub(handle:base64Escape(value), "=+$", "") .. '"}'
end

-- Returns the google.rpc.ErrorInfo of an answer that has none, as those that the server's core makes when
-- a deadline has passed before the call was begun: its code is all the reason that there is.
local function bare_info(name) return field(1, upper(name)) .. field(2, DOMAIN) end

-- Names types without URLs, takes the padding of base64 away and the percent-encoding of the message. In
-- JSON a quote within a text has a backslash before it, so only types and values match; and nothing but
-- the message can hold a percent sign.
local function as_connect(handle, json)
  json = gsub(json, '"type":"type%.googleapis%.com/', '"type":"')
  json = gsub(json, '"value":"([%w+/]*)=+"', '"value":"%1"')
  if not find(json, '"details":[', 1, true) then
    json = gsub(json, '"code":"([%l_]+)"', function(name)
      return '"code":"' .. name .. '","details":[' .. detail_json(handle, INFO, bare_info(name)) .. "]"
    end, 1)
  end
  return (gsub(json, "%%(%x%x)", function(hex)
    local code = tonumber(hex, 16)
    if code < 32 or code == 34 or code == 92 then return format("\\u%04x", code) end
    return char(code)
  end))
end

local function last_frame(json)
  local function at(power) return floor(#json / power) % 256 end
  return char(LAST, at(16777216), at(65536), at(256), at(1)) .. json
end

-- Returns the flag of bytes that are one frame; nil for all others.
function M.frame_flag(bytes)
  local flag, a, b, c, d = byte(bytes, 1, M.FRAME)
  if d and ((a * 256 + b) * 256 + c) * 256 + d == #bytes - M.FRAME then return flag end
end

-- Returns Connect's JSON for a google.rpc.Status in base64.
local function error_json(handle, base64)
  local status, details = grpc_status.parse(base64), {}
  local code = CODES[status.code] or "unknown"
  for place, detail in ipairs(status.details) do
    details[place] = detail_json(handle, detail.type, detail.value)
  end
  details[1] = details[1] or detail_json(handle, INFO, bare_info(code))
  return '{"code":"' .. code .. '","message":' .. json_string(status.message)
    .. ',"details":[' .. table.concat(details, ",") .. "]}"
end

-- Returns the text of a JSON object's first member of that name as it is written, or "".
local function written(json, name, at)
  local _, before = find(json, '"' .. name .. '":"', at, true)
  if not before then return "" end
  local place = before + 1
  while true do
    place = find(json, '["\\]', place)
    if not place then return "" end
    if byte(json, place) == 34 then return sub(json, before + 1, place - 1), place end
    place = place + 2
  end
end

-- Returns the details that the gateway's own refusals have, of a code.
local function own_details(handle, json, code)
  local reason = written(json, "reason")
  local info = reason == "" and bare_info(code) or field(1, reason) .. field(2, written(json, "domain"))
  local details = { detail_json(handle, INFO, info) }
  local violations, at = {}, find(json, '"fieldViolations":[', 1, true)
  while at do
    local name, behind = written(json, "field", at)
    if not behind then break end
    local why, next_at = written(json, "description", behind)
    violations[#violations + 1] =
      field(1, field(1, text.json_unescaped(name)) .. field(2, text.json_unescaped(why)))
    at = next_at
  end
  if violations[1] then
    details[2] = detail_json(handle, "google.rpc.BadRequest", table.concat(violations))
  end
  return table.concat(details, ",")
end

-- Turns the JSON of a google.rpc.Status into Connect's, for callers who speak it in JSON; of a stream
-- it is the last frame, and the HTTP status tells nothing.
function M.rewrite_status(handle, is_stream)
  local noted = handle:streamInfo():dynamicMetadata():get(METADATA)
  local body = handle:body(true)
  local json = body:getBytes(0, body:length())
  local code = tonumber(json:match('"code":(%d+)'))
  local name, error = CODES[code] or "unknown", nil
  if noted and noted.details then
    error = error_json(handle, noted.details)
  else
    error = '{"code":"' .. name .. '","message":"' .. written(json, "message")
      .. '","details":[' .. own_details(handle, json, name) .. "]}"
  end
  if not is_stream then
    body:setBytes(error)
    return
  end
  note(handle, code)
  body:setBytes(last_frame('{"error":' .. error .. "}"))
  handle:headers():replace(":status", "200")
  handle:headers():replace("content-type", JSON_STREAM)
end

local function rewrite_frames(handle)
  for chunk in handle:bodyChunks() do
    local bytes = chunk:getBytes(0, chunk:length())
    if M.frame_flag(bytes) == LAST then
      local json = sub(bytes, M.FRAME + 1)
      note(handle, NUMBERS[json:match('^{"error":.-"code":"([%l_]+)"')] or 0)
      chunk:setBytes(last_frame(as_connect(handle, json)))
    end
  end
end

-- Envoy answers in text only who accepts that and nothing else; an XMLHttpRequest may add `*/*`.
local function accept_text(headers, type)
  local accepted = headers:get("accept") or ""
  local takes_binary = find(accepted, "application/grpc-web", 1, true)
  if find(accepted, TEXT, 1, true) or (find(type, TEXT, 1, true) and not takes_binary) then
    headers:replace("accept", TEXT)
  end
end

-- What begins with another flag than those of a message, the server's core would read as an empty one.
local function check_flag(handle)
  -- It may change, and nothing needs it.
  handle:headers():remove("content-length")
  for chunk in handle:bodyChunks() do
    local flag = byte(chunk:getBytes(0, math.min(1, chunk:length())))
    if flag and flag > M.COMPRESSED then chunk:setBytes(UNREADABLE) end
    if flag then return end
  end
end

-- Gives an error without details its google.rpc.ErrorInfo.
local function add_info(handle, headers)
  local code = tonumber(headers:get("grpc-status"))
  local name = CODES[code]
  if not name then return end
  local message = text.percent_decoded(headers:get("grpc-message") or "") or ""
  local packed = field(1, "type.googleapis.com/" .. INFO) .. field(2, bare_info(name))
  headers:add(DETAILS, handle:base64Escape(char(8, code) .. field(2, sub(message, 1, 1000)) .. field(3, packed)))
end

function M.on_request(handle)
  local type = handle:headers():get("content-type")
  -- The bridge passes others by; callers may leave it out.
  if type == UNARY then handle:headers():replace("connect-protocol-version", "1") end
  handle:streamInfo():dynamicMetadata():set(METADATA, "type", type)
  accept_text(handle:headers(), type)
  if type ~= UNARY and not find(type, TEXT, 1, true) then check_flag(handle) end
end

function M.on_response(handle)
  local noted = handle:streamInfo():dynamicMetadata():get(METADATA)
  if not noted then return end
  local headers = handle:headers()
  local details = headers:get(DETAILS)
  if find(noted.type, "^application/grpc%-web") then
    if headers:get(":status") ~= "200" and details then
      headers:replace("grpc-status", tostring(grpc_status.parse(details).code))
      headers:replace(":status", "200")
    elseif not details then
      add_info(handle, headers)
    end
  elseif details and headers:get("content-type") == "text/plain" then
    for _, name in ipairs({ "grpc-status", "grpc-message", DETAILS }) do headers:remove(name) end
    local json = error_json(handle, details)
    note(handle, grpc_status.parse(details).code)
    local stream = lower(noted.type):match("^application/connect%+%l+")
    if stream then
      headers:replace(":status", "200")
      json = last_frame('{"error":' .. json .. "}")
    end
    headers:replace("content-type", stream or "application/json")
    handle:body(true):setBytes(json)
  elseif headers:get("content-type") == "application/json" then
    local body = handle:body(true)
    local json = body:getBytes(0, body:length())
    body:setBytes(as_connect(handle, json))
    local code = json:match('"code":"([%l_]+)"')
    note(handle, NUMBERS[code])
    local status = STATUSES[code]
    if status then handle:headers():replace(":status", status) end
  elseif headers:get("content-type") == STREAM then
    rewrite_frames(handle)
  elseif noted.type == UNARY and headers:get(":status") == "200" then
    note(handle, 0)
  end
end

return M
