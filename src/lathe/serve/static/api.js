// Requests to this server, and to no other.

const KEY = "lathe-key";
export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
};

export class Refused extends Error {
  constructor(status, reason, retry) {
    super(reason);
    this.status = status;
    this.retry = retry;
  }
}

function headers() {
  return { "Content-Type": "application/json", ...(key.get() && { Authorization: `Bearer ${key.get()}` }) };
}

export async function call(path, body, signal) {
  const asked = { headers: headers(), signal, cache: "no-store" };
  if (body !== undefined) Object.assign(asked, { method: "POST", body: JSON.stringify(body) });
  const began = performance.now();
  let reply;
  try {
    reply = await fetch(path, asked);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "", null);
  }
  if (!reply.ok) throw await refusal(reply);
  const answer = await reply.json();
  return { answer, took: performance.now() - began };
}

async function refusal(reply) {
  let reason = reply.statusText;
  try {
    const { error } = await reply.json();
    reason = typeof error === "string" ? error : error.message;
  } catch {
    // the status says it
  }
  return new Refused(reply.status, reason, reply.headers.get("Retry-After"));
}

// Pieces of a text as server-sent events bring them.
export async function* streamed(path, body, signal) {
  const reply = await fetch(path, { method: "POST", headers: headers(), body: JSON.stringify(body), signal });
  if (!reply.ok) throw await refusal(reply);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const events = held.split("\n\n");
    held = events.pop();
    for (const event of events) {
      if (event === "data: [DONE]") return;
      const told = JSON.parse(event.slice("data: ".length));
      if (told.error) throw new Refused(Number(told.error.code), told.error.message, null);
      const choice = told.choices[0];
      yield choice?.delta?.content ?? choice?.text ?? "";
    }
  }
}

export function curl(path, body) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const bearer = key.get() ? " -H 'Authorization: Bearer '\"$KEY\"" : "";
  return `curl ${quoted(location.origin + path)} -H 'Content-Type: application/json'${bearer} -d ${quoted(JSON.stringify(body))}`;
}
