// Places are code points: what the server counts. The browser counts UTF-16 units.

export const points = (text) => Array.from(text);

export const slice = (text, start, end) => points(text).slice(start, end).join("");

export const pointsBefore = (text, units) => points(text.slice(0, units)).length;

// The text cut wherever a span begins or ends; each piece knows the spans around it, the widest first.
export function pieces(text, spans) {
  const whole = points(text);
  const good = spans
    .map((span, place) => ({ ...span, place }))
    .filter((span) => span.start >= 0 && span.end <= whole.length && span.start < span.end);
  const cuts = new Set([0, whole.length]);
  for (const span of good) cuts.add(span.start).add(span.end);
  const sorted = [...cuts].sort((a, b) => a - b);
  return sorted.slice(0, -1).map((start, i) => {
    const end = sorted[i + 1];
    const around = good.filter((span) => span.start <= start && span.end >= end);
    around.sort((a, b) => b.end - b.start - (a.end - a.start));
    return { text: whole.slice(start, end).join(""), start, end, spans: around };
  });
}

export function cosine(one, other) {
  let product = 0;
  for (let i = 0; i < one.length; i += 1) product += one[i] * other[i];
  return product;
}
