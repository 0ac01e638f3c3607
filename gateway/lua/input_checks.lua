-- Checks a REST request before the transcoder, and refuses what that would change without a word.

local field_names = require("field_names")
local json_check = require("json_check")
local numbers = require("numbers")
local text = require("text")
local web_errors = require("web_errors")

local M = {}

local find, gmatch, gsub, lower, sub = string.find, string.gmatch, string.gsub, string.lower, string.sub
local json_string, percent_decoded = text.json_string, text.percent_decoded

local DOMAIN = "billing.example.com"
local MOST_VIOLATIONS = 50
local NOTHING = {}
-- The dynamic metadata in which a page's request notes what its answer depends on.
local PAGE = "page"
local LONGEST_TOKEN = 64
-- Tells the server what is wrong with what it is not sent (server/rpc/pipeline/unreadable.py), in so many bytes.
local UNREADABLE, MOST_NAMED_BYTES = "x-unreadable-fields-bin", 4096
-- A page's form sends `answer=accept`, and browsers' extensions a little more.
local LARGEST_FORM = 512
-- Has enumerations written as numbers; the host is one of Envoy's configuration, not of any network.
local ENUM_NUMBERS = "json;enum-encoding=int"
local ENUM_NUMBERS_HOST = "enum-numbers.invalid"
-- Connect's deadline in ms, which has ten digits at most; gRPC's has eight.
local DEADLINE, MOST_DIGITS, LONGEST_MS = "connect-timeout-ms", 10, 99999999
-- Envoy's own, of a call with an answer.
local ENVOYS_DEADLINE = "x-envoy-upstream-rq-timeout-ms"

local function detail(type, rest)
  return '{"@type":"type.googleapis.com/google.rpc.' .. type .. '",' .. rest .. "}"
end

-- gRPC codes of HTTP statuses: NOT_FOUND, UNIMPLEMENTED; of all others INVALID_ARGUMENT.
local CODES, INVALID = { [404] = 5, [501] = 12 }, 3

local function as_json(violations)
  local listed = {}
  for place, wrong in ipairs(violations) do
    listed[place] = '{"field":' .. json_string(wrong.field)
      .. ',"description":' .. json_string(wrong.description) .. "}"
  end
  return "[" .. table.concat(listed, ",") .. "]"
end

-- Answers with a google.rpc.Status.
local function refuse(handle, status, reason, message, violations)
  local details = {
    detail("ErrorInfo", '"reason":"' .. reason .. '","domain":"' .. DOMAIN .. '"'),
    detail("RequestInfo", '"requestId":' .. json_string(handle:headers():get("x-request-id") or "")),
  }
  if violations then
    table.insert(details, 2, detail("BadRequest", '"fieldViolations":' .. as_json(violations)))
  end
  handle:respond({ [":status"] = tostring(status) }, '{"code":' .. (CODES[status] or INVALID)
    .. ',"message":' .. json_string(message) .. ',"details":[' .. table.concat(details, ",") .. "]}")
end

local function refuse_fields(handle, violations)
  local first = violations[1]
  local message = first.field .. ": " .. first.description
  if #violations > 1 then message = message .. " (and " .. (#violations - 1) .. " more)" end
  refuse(handle, 400, "FIELDS_INVALID", message, violations)
end

-- Returns what is wrong with a value in a query; nil for nothing.
local function value_problem(value, field)
  if field.kind == "bool" and value ~= "true" and value ~= "false" then
    return "It must be true or false."
  end
  if field.kind == "integer" and not find(value, "^%-?%d+$") then return "It must be a whole number." end
  return numbers.problem(value, field, true)
end

-- System parameters may be written without their dollar, where the method has no field of that name.
local SYSTEM = {
  alt = true, access_token = true, callback = true, fields = true, key = true, oauth_token = true,
  prettyPrint = true, quotaUser = true, uploadType = true, upload_protocol = true,
}

-- Returns the name of a system parameter with the dollar, with which no field's begins; nil for others.
local function system_name(name, fields)
  if sub(name, 1, 1) == "$" then return name end
  return SYSTEM[name] and not fields[name] and "$" .. name or nil
end

-- Returns what is wrong with a system parameter; nil for nothing. Those that say how answers are anyway
-- are taken, and ENUM_NUMBERS.
local function system_problem(name, value)
  if name == "$alt" then
    if value == "json" or value == ENUM_NUMBERS then return nil end
    return "Answers are JSON: it can be json or " .. ENUM_NUMBERS .. "."
  elseif name == "$prettyPrint" then
    if value == "false" then return nil end
    return "Answers stand on one line: it can be false."
  elseif name == "$access_token" or name == "$oauth_token" or name == "$key" then
    return "Send the token in the header Authorization: Bearer <token>; addresses are kept in logs."
  end
  return "This system parameter is not supported; $alt and $prettyPrint are."
end

-- Returns what is wrong with the query; the query without that and without system parameters, which the
-- transcoder does not know, nil where it is as it came; and whether enumerations are wanted as numbers.
-- Or nil and why it can't be read.
local function check_query(query, rule, messages)
  local violations, seen, kept, numbers_wanted, system = {}, {}, {}, false, false
  for pair in gmatch(query, "[^&]+") do
    if #violations >= MOST_VIOLATIONS then break end
    local count = #violations
    local raw_name, raw_value = pair, ""
    local equals = find(pair, "=", 1, true)
    if equals then raw_name, raw_value = sub(pair, 1, equals - 1), sub(pair, equals + 1) end
    local name = percent_decoded((gsub(raw_name, "%+", " ")))
    local value = percent_decoded((gsub(raw_value, "%+", " ")))
    if not name then
      return nil, "The query is not percent-encoded UTF-8."
    end
    local function wrong(description)
      violations[#violations + 1] = { field = text.shortened(name), description = description }
    end
    local field, canonical, before = field_names.resolve(name, messages[rule.message], messages)
    local parameter = system_name(name, messages[rule.message])
    if not value then
      wrong("It is not percent-encoded UTF-8.")
    elseif parameter then
      local problem = seen[parameter] and "The parameter is given twice." or system_problem(parameter, value)
      if problem then wrong(problem) end
      seen[parameter], system = true, true
      if parameter == "$alt" and value == ENUM_NUMBERS then numbers_wanted = true end
    elseif not field then
      local meant = text.closest(field_names.last_part(name), canonical)
      if meant and rule.bound[before .. canonical[meant].name] then meant = nil end
      wrong("There is no such parameter" .. (meant and "; did you mean " .. before .. meant .. "?" or "."))
    elseif rule.bound[canonical] then
      wrong("The path says what this is.")
    elseif rule.body == "*" or rule.body == canonical:match("^[^.]*") then
      wrong("It belongs in the body.")
    elseif field.kind == "message" or field.kind == "struct" or field.kind == "list" or field.many == "map" then
      wrong("It can't be written in a query.")
    elseif seen[canonical] and not field.many then
      wrong("The parameter is given twice.")
    elseif field.oneof and seen[field.oneof] and seen[field.oneof] ~= canonical then
      wrong("Only one of this and " .. seen[field.oneof] .. " can be set.")
    else
      local problem = value_problem(value, field)
        or field.mask and field_names.mask_problem(value, messages[field.mask], messages)
      if problem then wrong(problem) end
      seen[canonical] = true
      if field.oneof then seen[field.oneof] = canonical end
    end
    if #violations == count and not parameter then kept[#kept + 1] = pair end
  end
  local rest = (system or violations[1]) and table.concat(kept, "&") or nil
  return violations, rest, numbers_wanted
end

local function is_json(content_type)
  if not content_type then return false end
  local media_type, parameters = lower(content_type):match("^%s*([^;%s]+)%s*(.*)$")
  return media_type == "application/json"
    and (parameters == "" or find(parameters, '^;%s*charset="?utf%-8"?%s*$') ~= nil)
end

-- Returns which of the body's fields the path has filled: true, or what it may say again.
local function bound_fields(path, rule)
  local named = rule.named
  if not named then return rule.bound end
  return { [named.field] = percent_decoded(sub(path, #named.before + 1, #path - #named.after)) }
end

-- Leaves of the frame that a stream's request is its message, as JSON. Returns whether it is one.
local function take_frame(handle)
  local body = handle:body()
  local bytes = body and body:getBytes(0, body:length()) or ""
  local flag = web_errors.frame_flag(bytes)
  if flag == 0 then
    body:setBytes(sub(bytes, web_errors.FRAME + 1))
    handle:headers():replace("content-type", "application/json")
  elseif flag == web_errors.COMPRESSED then
    refuse(handle, 501, "COMPRESSION_UNSUPPORTED", "Send the message without compression.")
  else
    refuse(handle, 400, "REQUEST_MALFORMED",
      "Send one message: a byte 0, the length of the JSON in four bytes, highest first, and the JSON.")
  end
  return flag == 0
end

-- Has a call of Connect end when its caller wants it to, if that is before it would by itself. Returns
-- whether that, and the protocol's version, can be read.
local function take_connect_headers(handle, rule, limits)
  local headers = handle:headers()
  local wanted = headers:get(DEADLINE)
  local version = headers:get("connect-protocol-version")
  if version and version ~= "1" then
    refuse(handle, 400, "REQUEST_MALFORMED", "connect-protocol-version is 1, or left out.")
    return false
  end
  if not wanted then return true end
  if #wanted > MOST_DIGITS or not find(wanted, "^%d+$") then
    refuse(handle, 400, "REQUEST_MALFORMED",
      "connect-timeout-ms is a whole number of milliseconds, of " .. MOST_DIGITS .. " digits at most.")
    return false
  end
  local longest = rule.stream and LONGEST_MS or limits.call_ms
  -- To Envoy 0 would be no deadline.
  local ms = math.max(1, math.min(tonumber(wanted), longest))
  if not rule.stream then
    headers:replace(ENVOYS_DEADLINE, string.format("%d", ms))
    -- So that the answer is always Envoy's whole one. A wait is answered with what there is by then.
    if not rule.waits then ms = ms + limits.margin_ms end
  end
  headers:replace("grpc-timeout", string.format("%dm", ms))
  return true
end

-- Returns what is wrong with the body, and the body without that, as `json_check` does; nil where the request
-- has been answered.
local function check_body(handle, rule, messages, path)
  if rule.stream and not take_frame(handle) then return nil end
  local buffer = handle:body()
  local length = buffer and buffer:length() or 0
  if length == 0 or rule.raw then return NOTHING end
  if rule.body == "" then
    return refuse(handle, 400, "REQUEST_MALFORMED", "This method takes no body.")
  end
  local headers = handle:headers()
  if not is_json(headers:get("content-type")) then
    return refuse(handle, 415, "CONTENT_TYPE_UNSUPPORTED", "Send the body as JSON, with Content-Type: application/json.")
  end
  local encoding = headers:get("content-encoding")
  if encoding and lower(encoding) ~= "identity" then
    if rule.connect then
      return refuse(handle, 501, "COMPRESSION_UNSUPPORTED",
        "JSON is taken with the Content-Encoding identity alone; application/proto with gzip and deflate too.")
    end
    return refuse(handle, 415, "CONTENT_TYPE_UNSUPPORTED", "Send the body without Content-Encoding.")
  end
  local violations, rest = json_check.check(buffer:getBytes(0, length), rule.field, messages, bound_fields(path, rule))
  if not violations then return refuse(handle, 400, "REQUEST_MALFORMED", rest) end
  return violations, rest
end

-- Has the server refuse the request, which can be read without its wrong fields: it knows whether the caller
-- may ask at all, and names these and what it finds in the others. Returns whether it can be told.
local function pass_on(handle, violations, path, body)
  local named = as_json(violations)
  if #named > MOST_NAMED_BYTES then return false end
  local headers = handle:headers()
  headers:replace(UNREADABLE, handle:base64Escape('{"fieldViolations":' .. named .. "}"))
  if path then headers:replace(":path", path) end
  if body then handle:body():setBytes(body) end
  return true
end

-- Whether the headers are too many or, at name + value + 2 a line, too large. Envoy's own limits are
-- wider: over HTTP/2 it would break the stream off without an answer.
local function has_large_headers(headers, limits)
  local count, bytes = 0, 0
  for name, value in pairs(headers) do
    count = count + 1
    bytes = bytes + #name + #value + 2
  end
  return count > limits.headers or bytes > limits.header_bytes
end

-- Asks as for GET, which is all that the transcoder knows, and notes that the answer has no body.
local function take_head(handle)
  handle:headers():replace(":method", "GET")
  handle:streamInfo():dynamicMetadata():set(PAGE, "head", true)
end

-- Rewrites the path of a page's request to the one that the transcoder knows. Mail programs and
-- people add to links: a query, slashes, punctuation. All of that is dropped but the query that the
-- answer depends on; what can't be a link's secret is replaced by one that leads nowhere.
local function take_page_request(handle, rule)
  local headers = handle:headers()
  local path = headers:get(":path"):match("^[^?]*")
  local token = (percent_decoded(path) or path):match("^/+[^/]+/+([%w_-]+)")
  local plain = rule.page .. (token and #token <= LONGEST_TOKEN and token or "-")
  -- The page's own queries: they tell that a button did nothing, and ask about further e-mails.
  local query = headers:get(":path"):match("%?(.*)$") or ""
  local own = (query == "too_late=accept" or query == "too_late=decline") and query
  if ("&" .. query .. "&"):find("&stop=yes&", 1, true) then own = "stop=yes" end
  headers:replace(":path", own and rule.body == "" and plain .. "?" .. own or plain)
  local known = handle:streamInfo():dynamicMetadata()
  if headers:get(":method") == "HEAD" then take_head(handle) end
  -- No browser sends a key: it is a program that posts the form.
  if (headers:get("idempotency-key") or "") ~= "" then known:set(PAGE, "program", true) end
  local body = handle:body()
  if body and rule.body == "" then
    body:setBytes("")
  elseif body and body:length() > LARGEST_FORM then
    refuse(handle, 413, "REQUEST_TOO_LARGE", "The form is too large.")
  end
end

-- Over HTTP/2 an answer to HEAD must not have a body, but the length that it would have. The filter that
-- packs answers is off, since it would pack this one; so what it says of GET's is said here.
local function empty_for_head(handle, least_packed)
  if not (handle:streamInfo():dynamicMetadata():get(PAGE) or NOTHING).head then return end
  local body = handle:body(true)
  local length = body:length()
  if length == 0 then return end
  body:setBytes("")
  local headers = handle:headers()
  headers:replace("content-length", tostring(length))
  if length >= least_packed and headers:get("content-type") == "application/json" then
    headers:add("vary", "Accept-Encoding")
  end
end

-- Answers people with a page where the server, or Envoy itself, answers with a status.
local function refuse_by_page(handle, pages)
  local headers = handle:headers()
  if headers:get("content-type") ~= "application/json" then return end
  if (handle:streamInfo():dynamicMetadata():get(PAGE) or NOTHING).program then return end
  local status = tonumber(headers:get(":status"))
  handle:body(true):setBytes(pages[status] or pages[status < 500 and 400 or 500])
  -- The script may have waited for the body; what it held before is no longer valid.
  handle:headers():replace("content-type", "text/html; charset=utf-8")
end

-- Puts a bare status into Google's envelope (AIP-193), where that has not been done: Envoy's own
-- answers have it. In JSON a quote within a text has a backslash before it, so the first
-- `,"details":[` is the field.
local function envelop(handle, codes)
  if handle:headers():get("content-type") ~= "application/json" then return end
  local http_status = handle:headers():get(":status")
  local body = handle:body(true)
  local status = body:getBytes(0, body:length())
  local _, after_code, code = find(status, '^{"code":(%d+),')
  local details = after_code and find(status, ',"details":[', after_code, true)
  if not details then return end
  body:setBytes('{"error":{"code":' .. http_status .. "," .. sub(status, after_code + 1, details - 1)
    .. ',"status":"' .. (codes[code] or "UNKNOWN") .. '"' .. sub(status, details) .. "}")
end

-- Returns the function that Envoy calls for each answer, REST only. `rules` and `limits` are as below;
-- `pages` holds the HTML for a status, `codes` the name of a gRPC code.
--
-- The transcoder gives up on a status that has a detail of a type that it does not know, and leaves
-- the answer without a body; code and text are still there.
function M.new_response_check(rules, limits, pages, codes)
  return function(handle)
    local headers, rule = handle:headers(), nil
    if headers:get(":status") ~= "200" then
      -- Nobody polls for an error.
      headers:remove("x-operation-poll-interval")
      rule = rules[handle:streamInfo():routeName()]
      if rule and rule.page then
        refuse_by_page(handle, pages)
        empty_for_head(handle, limits.packed_bytes)
        return
      end
      headers:remove("x-http-status")
    end
    -- A page names its own HTTP status, which gRPC has no place for; a route for HEAD says 200.
    local status = headers:get("x-http-status")
    if status then
      headers:replace(":status", status)
      headers:remove("x-http-status")
      empty_for_head(handle, limits.packed_bytes)
      return
    end
    local code = headers:get("content-type") == "application/grpc" and headers:get("grpc-status")
    if code then
      local message = percent_decoded(headers:get("grpc-message") or "") or ""
      handle:body(true):setBytes('{"code":' .. code .. ',"message":' .. json_string(message) .. ',"details":['
        .. detail("ErrorInfo", '"reason":"UNKNOWN_DETAIL","domain":"' .. DOMAIN .. '"') .. "]}")
      headers:replace("content-type", "application/json")
    end
    if rule and rule.envelope then envelop(handle, codes) end
    if rule and rule.connect then web_errors.rewrite_status(handle, rule.stream) end
    if rule and rule.head then empty_for_head(handle, limits.packed_bytes) end
  end
end

-- Returns the function that Envoy calls for each request.
--
-- `rules` maps a route's name to {message, body, bound, named, raw, page}: the request's type, what the
-- body fills, the fields that the path fills, the one among them that is a field of the body's and what
-- stands around it in the path, whether the body is passed on as it is, the folder of a page for browsers;
-- `envelope`, whether errors come in Google's; `head`, whether it is the HEAD of a GET; `connect`, whether
-- errors are Connect's; `stream`, whether the request and they are framed as its streams are. `messages`
-- maps a type to its fields: a list of {name, json, kind, of, many, oneof, range, values, mask}; `mask` is the
-- type whose fields a mask names.
-- `limits` holds the most headers and header_bytes, the longest that a call may take (call_ms), how much
-- later than Envoy the server gives up (margin_ms) and from which size on answers are packed (packed_bytes).
function M.new_request_check(rules, messages, limits)
  local by_name = {}
  for type, fields in pairs(messages) do
    by_name[type] = {}
    for _, field in ipairs(fields) do
      by_name[type][field.name] = field
      by_name[type][field.json or field.name] = field
    end
  end
  for _, rule in pairs(rules) do
    rule.field = { kind = "message", of = rule.message }
    if rule.body ~= "*" and rule.body ~= "" then
      rule.field = by_name[rule.message][rule.body]
    end
  end
  return function(handle)
    local rule = rules[handle:streamInfo():routeName()]
    if not rule then return end
    local headers = handle:headers()
    if has_large_headers(headers, limits) then
      return refuse(handle, 431, "HEADERS_TOO_LARGE", "The request's headers are too large.")
    end
    if rule.page then return take_page_request(handle, rule) end
    if rule.connect and not take_connect_headers(handle, rule, limits) then return end
    local target = headers:get(":path")
    local path, violations, rest_path = target, {}, nil
    if find(target, "[%%?\128-\255]") then
      local question = find(target, "?", 1, true) or #target + 1
      path = sub(target, 1, question - 1)
      if find(path, "%%2[fF]") then
        return refuse(handle, 404, "METHOD_UNKNOWN", "No method has this path: an encoded slash is part of no name.")
      end
      if not percent_decoded(path) then
        return refuse(handle, 400, "REQUEST_MALFORMED", "The path is not percent-encoded UTF-8.")
      end
      local found, rest, numbers_wanted = check_query(sub(target, question + 1), rule, by_name)
      if not found then return refuse(handle, 400, "REQUEST_MALFORMED", rest) end
      violations = found
      if rest then rest_path = rest == "" and path or path .. "?" .. rest end
      if rest_path and not found[1] then
        headers:replace(":path", rest_path)
        if numbers_wanted and not rule.head then
          headers:replace(":authority", ENUM_NUMBERS_HOST)
          handle:clearRouteCache()
        end
      end
    end
    local in_body, body = check_body(handle, rule, by_name, path)
    if not in_body then return end
    local readable = body or not in_body[1]
    for _, wrong in ipairs(in_body) do
      if #violations < MOST_VIOLATIONS then violations[#violations + 1] = wrong end
    end
    if violations[1] and not (readable and pass_on(handle, violations, rest_path, body)) then
      return refuse_fields(handle, violations)
    end
    if rule.head then take_head(handle) end
  end
end

return M
