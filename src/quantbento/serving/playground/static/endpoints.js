// What a service's OpenAPI document says of its endpoints.

/** An endpoint of the service's own that takes JSON: its path, the schema and an example of its body, its answer's schema. */
export function endpoints(document) {
  const found = [];
  for (const [path, operations] of Object.entries(document.paths ?? {})) {
    const content = operations.post?.requestBody?.content?.["application/json"];
    if (!content?.schema || path.startsWith("/v1/")) continue;
    const answer = operations.post.responses?.["200"]?.content?.["application/json"]?.schema ?? {};
    const resolve = (schema) => resolved(schema, document);
    found.push({ path, schema: resolve(content.schema), example: example(content, resolve), answer: resolve(answer) });
  }
  return found;
}

/** The endpoint that answers a list of inputs by that name with a list; undefined where there is none. */
export function batchOf(document, name) {
  const takes = endpoints(document).filter((one) => one.schema.properties?.[name] && one.schema.required?.includes(name));
  return takes.find((one) => one.answer.type === "array") ?? takes[0];
}

function resolved(schema, document) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((part, key) => part?.[key], document) ?? {};
}

function example(content, resolve) {
  if (content.examples) return Object.values(content.examples)[0].value;
  return made(content.schema, resolve);
}

/** A value that a schema allows, from its examples where it has some. */
function made(given, resolve, depth = 0) {
  const schema = resolve(given);
  if (schema.example !== undefined) return schema.example;
  if (schema.examples?.length) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const choice = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (choice && depth < 8) return made(choice[0], resolve, depth + 1);
  if (schema.properties && depth < 8) {
    const names = schema.required ?? Object.keys(schema.properties);
    return Object.fromEntries(names.map((name) => [name, made(schema.properties[name] ?? {}, resolve, depth + 1)]));
  }
  if (schema.type === "array") {
    const count = Math.min(schema.minItems ?? 1, 64);
    return depth < 8 ? Array.from({ length: count }, () => made(schema.items ?? {}, resolve, depth + 1)) : [];
  }
  return { string: "text", integer: schema.minimum ?? 1, number: schema.minimum ?? 0, boolean: false }[schema.type] ?? null;
}
