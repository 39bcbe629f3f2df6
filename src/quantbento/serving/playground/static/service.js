// Requests to a service, and its errors in words.

/** What a service, or the way to it, says is wrong; `fields` are lines about parts of the request. */
export class Refused extends Error {
  constructor(status, detail, fields = [], id = "") {
    super(detail);
    Object.assign(this, { status, fields, id });
  }
}

/** Where a service is, and the API key for it, which is kept nowhere else. */
export class Service {
  constructor(base) {
    this.base = base;
    this.key = "";
  }

  async get(path) {
    const response = await this.send(path, {});
    return response.json();
  }

  /** A POST; `body` is JSON, a form or a file. Raises `Refused`, or an `AbortError` where it was stopped. */
  async post(path, body, { headers = {}, signal } = {}) {
    const plain = body instanceof FormData || body instanceof Blob;
    const type = plain ? (body instanceof Blob ? { "content-type": "application/octet-stream" } : {}) : { "content-type": "application/json" };
    return this.send(path, { method: "POST", body: plain ? body : JSON.stringify(body), headers: { ...type, ...headers }, signal });
  }

  async send(path, options) {
    const key = this.key ? { "x-api-key": this.key } : {};
    let response;
    try {
      response = await fetch(this.base + path.replace(/^\//, ""), { ...options, headers: { ...options.headers, ...key } });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused(0, "The service cannot be reached. Does it still run?");
    }
    if (!response.ok) throw await refused(response);
    return response;
  }
}

async function refused(response) {
  const text = await response.text();
  const id = response.headers.get("x-request-id") ?? "";
  let said;
  try {
    said = JSON.parse(text);
  } catch {
    return new Refused(response.status, text || response.statusText, [], id);
  }
  const fields = (said.errors ?? []).map((error) => `${error.loc.join(" › ") || "body"}: ${error.msg}`);
  const detail = said.error?.message ?? said.detail ?? text;
  return new Refused(response.status, String(detail), fields, id);
}

/** The texts of a stream of server-sent events, one by one, without OpenAI's closing `[DONE]`. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r?\n\r?\n/);
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}
