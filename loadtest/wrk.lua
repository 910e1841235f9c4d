-- Bodies for wrk: a beginning out of a file, then an id that nobody had before. Arguments: the file, how the ids begin.
local beginnings, ids, sent = {}, "", 0
wrk.method = "POST"

function init(args)
  for line in io.lines(args[1]) do beginnings[#beginnings + 1] = line end
  ids = args[2]
  -- Each run begins elsewhere in the file, by the digits of its name.
  sent = tonumber(args[2]:sub(-6), 16) % #beginnings
end

function request()
  sent = sent + 1
  return wrk.format(nil, nil, nil, beginnings[sent % #beginnings + 1] .. ids .. "-" .. sent .. '"}')
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"us":%d,"failed":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d}\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
