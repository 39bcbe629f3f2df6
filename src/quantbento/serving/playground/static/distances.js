// How far two answers are from each other.

/** The cosine of two vectors; 1 for the same direction. */
export function cosine(a, b) {
  let [product, one, two] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    product += a[i] * b[i];
    one += a[i] * a[i];
    two += b[i] * b[i];
  }
  return one && two ? product / Math.sqrt(one * two) : 0;
}

/** All numbers of an answer of arrays, objects and numbers, each with its place as a key. */
export function numbers(value, place = "", found = new Map()) {
  if (typeof value === "number") found.set(place, value);
  else if (Array.isArray(value)) value.forEach((part, index) => numbers(part, `${place}[${index}]`, found));
  else if (value && typeof value === "object") for (const [key, part] of Object.entries(value)) numbers(part, `${place}.${key}`, found);
  return found;
}

/** The largest difference of two answers' numbers and where it is; null where their shapes differ. */
export function largestDifference(a, b) {
  const [one, two] = [numbers(a), numbers(b)];
  if (one.size !== two.size || [...one.keys()].some((place) => !two.has(place))) return null;
  let [largest, at] = [0, ""];
  for (const [place, value] of one) {
    const difference = Math.abs(value - two.get(place));
    if (difference > largest) [largest, at] = [difference, place];
  }
  return { largest, at };
}

/** The words of two texts in order, each `{text, kind}` with kind same, first or second: their longest common part. */
export function textDifference(a, b) {
  const [one, two] = [a, b].map((text) => text.match(/\s+|[^\s]+/g) ?? []);
  if (one.length * two.length > 4e6) return null;
  const lengths = Array.from({ length: one.length + 1 }, () => new Uint32Array(two.length + 1));
  for (let i = one.length - 1; i >= 0; i--) {
    for (let j = two.length - 1; j >= 0; j--) {
      lengths[i][j] = one[i] === two[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const parts = [];
  const put = (text, kind) => {
    if (parts.at(-1)?.kind === kind) parts.at(-1).text += text;
    else parts.push({ text, kind });
  };
  let [i, j] = [0, 0];
  while (i < one.length || j < two.length) {
    if (i < one.length && j < two.length && one[i] === two[j]) {
      put(one[i], "same");
      [i, j] = [i + 1, j + 1];
    } else if (j === two.length || (i < one.length && lengths[i + 1][j] >= lengths[i][j + 1])) put(one[i++], "first");
    else put(two[j++], "second");
  }
  return parts;
}
