// What wrk.lua does, for k6: a beginning out of a file, then an id that nobody had before.
import { SharedArray } from 'k6/data';
import http from 'k6/http';

const beginnings = new SharedArray('beginnings', () => open(__ENV.BODIES).trim().split('\n'));
const connections = Number(__ENV.CONNECTIONS);
const asked = { headers: JSON.parse(__ENV.HEADERS), timeout: '5s' };
// Each run begins elsewhere in the file, by the digits of its name.
const first = parseInt(__ENV.IDS.slice(-6), 16);

export const options = {
  vus: connections,
  duration: `${__ENV.SECONDS}s`,
  discardResponseBodies: true,
  summaryTrendStats: ['p(50)', 'p(99)', 'p(99.9)'],
};

export default function () {
  // Every virtual user has a connection of its own, and every one of its turns a number.
  const sent = __ITER * connections + __VU - 1;
  http.post(__ENV.URL, `${beginnings[(first + sent) % beginnings.length]}${__ENV.IDS}-${sent}"}`, asked);
}

export function handleSummary({ metrics, state }) {
  const requests = metrics.http_reqs.values.count;
  const times = metrics.http_req_duration.values;
  const found = {
    requests,
    us: Math.round(state.testRunDurationMs * 1000),
    failed: metrics.http_req_failed.values.passes,
    p50_us: Math.round(times['p(50)'] * 1000),
    p99_us: Math.round(times['p(99)'] * 1000),
    p999_us: Math.round(times['p(99.9)'] * 1000),
  };
  return { stdout: `\nRESULT ${JSON.stringify(found)}\n` };
}
