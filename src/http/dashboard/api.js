// Asking the API, with the token of this tab if one is needed, and hearing what changed.

const KEY = "nightbell-token";
let onToken = null;

/** What the API refused, or that it did not answer (status 0). */
export class Failure extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Who is called, with the reason, when a token is needed; answers with a token. */
export function askTokenWith(ask) {
  onToken = ask;
}

function headers(more) {
  const token = sessionStorage.getItem(KEY);
  // Says that this is our own page, which no page of another origin can.
  const all = { "x-nightbell-surface": "console", ...more };
  if (token) all.authorization = `Bearer ${token}`;
  return all;
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(`/api/v1${path}`, options());
  } catch {
    throw new Failure(0, "nightbell does not answer");
  }
  if (response.status === 401 && onToken) {
    const had = sessionStorage.getItem(KEY) !== null;
    const token = await onToken(had ? "That token is not valid, or no longer." : "");
    sessionStorage.setItem(KEY, token);
    return send(path, options);
  }
  return response;
}

async function json(path, options) {
  const response = await send(path, options);
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Failure(response.status, body.detail || `nightbell answered ${response.status}`);
  return body;
}

export function get(path) {
  return json(path, () => ({ headers: headers({}), cache: "no-store" }));
}

export function post(path, body) {
  const content = JSON.stringify(body ?? {});
  return json(path, () => ({ method: "POST", headers: headers({ "content-type": "application/json" }), body: content }));
}

export function remove(path) {
  return json(path, () => ({ method: "DELETE", headers: headers({}) }));
}

/**
 * Calls `onChange` with the names of what changed, for as long as the page lives, and `onLost` with whether the stream
 * stands. Read with `fetch`, as an EventSource cannot bring a token.
 */
export async function listen(onChange, onLost) {
  for (let wait = 1000; ; wait = Math.min(wait * 2, 15000)) {
    try {
      const response = await send("/stream", () => ({ headers: headers({ accept: "text/event-stream" }) }));
      if (!response.ok) throw new Failure(response.status, "no stream");
      onLost(false);
      wait = 1000;
      await read(response.body.getReader(), onChange);
    } catch {
      // Told below, and tried again.
    }
    onLost(true);
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

async function read(reader, onChange) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const lines = event.split("\n");
      const field = (name) => lines.filter((l) => l.startsWith(`${name}:`)).map((l) => l.slice(name.length + 1).trim()).join("\n");
      if (field("event") === "hello") onChange(["all"]);
      if (field("event") === "changed") onChange(JSON.parse(field("data")).changed);
    }
  }
}
