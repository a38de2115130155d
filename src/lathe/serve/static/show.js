// Answers, drawn so that they can be read.

import { el, percent, svg, text } from "./dom.js";
import { t } from "./strings.js";
import { pieces, slice } from "./text.js";

const SHOWN_BARS = 12;

export function show(kind, row, answer) {
  const made = SHOWS[kind](answer, row);
  return el("div", { class: `answer ${kind}` }, made);
}

const SHOWS = {
  classify: (one) => labelled(one),
  multilabel: (one) => [one.labels.length ? el("p", { class: "chips" }, one.labels.map((label) => el("span", { class: "chip" }, text(label)))) : nothing(), bars(Object.entries(one.scores), new Set(one.labels))],
  score: (one) => figure(one.value.toFixed(3), t("value")),
  choose: (one, row) => bars(row.choices.map((choice, i) => [choice, one.scores[i]]), new Set([row.choices[one.index]])),
  tag: (one, row) => spans(row.text, one.spans),
  intent: (one, row) => [labelled(one), spans(row.text, one.spans)],
  relate: (one, row) => [spans(row.text, one.spans ?? row.spans ?? []), one.relations.length ? el("ul", { class: "facts" }, one.relations.map((fact) => relation(row.text, fact))) : nothing()],
  event: (one, row) => (one.events.length ? one.events.map((event) => happening(row.text, event)) : [el("p", { class: "reading" }, text(row.text)), nothing()]),
  answer: inContext,
  transform: written,
  chat: written,
  generate: written,
  embed: near,
  rank: near,
  recommend: (one) => ranked(one.ranking.map(({ id, score }) => [id, score])),
  fill: (one) => one.fillings.map((mask, i) => el("section", {}, one.fillings.length > 1 ? el("h4", {}, `${t("mask")} ${i + 1}`) : null, bars(mask.map((piece) => [piece.text, piece.score])))),
  likelihood: (one) => el("div", { class: "figures" }, figure(one.perplexity.toPrecision(4), t("perplexity")), figure(one.bits_per_byte.toFixed(3), t("bits")), figure(one.log_prob.toFixed(2), t("logProb")), figure(String(one.units), t("units"))),
};

const nothing = () => el("p", { class: "soft" }, t("nothing"));
const figure = (value, name) => el("p", { class: "figure" }, el("strong", {}, value), el("span", {}, name));

function labelled(one) {
  return [el("p", { class: "verdict" }, text(one.label), el("span", { class: "soft" }, percent(one.score))), bars(Object.entries(one.scores), new Set([one.label]))];
}

// A bar for each label, the likeliest first.
export function bars(entries, chosen = new Set()) {
  const sorted = [...entries].sort((a, b) => b[1] - a[1]);
  const line = ([label, share]) =>
    el("li", { class: chosen.has(label) ? "chosen" : null }, el("span", { class: "name" }, text(label)), bar(share), el("span", { class: "number" }, percent(share)));
  const list = el("ul", { class: "bars" }, sorted.slice(0, SHOWN_BARS).map(line));
  const rest = sorted.slice(SHOWN_BARS);
  return rest.length ? [list, el("details", {}, el("summary", {}, `+ ${rest.length}`), el("ul", { class: "bars" }, rest.map(line)))] : list;
}

function bar(share) {
  const width = 100 * Math.max(0, Math.min(1, share));
  return svg("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { class: "track", width: 100, height: 6 }), svg("rect", { class: "full", width, height: 6 }));
}

function colours(labels) {
  const known = [...new Set(labels)].sort();
  return (label) => `c${known.indexOf(label) % 6}`;
}

// Nested and overlapping spans are underlined below one another; each label stands where its span ends.
export function spans(whole, found) {
  const colour = colours(found.map((span) => span.label));
  const line = el("p", { class: "reading", dir: "auto" });
  for (const piece of pieces(whole, found)) {
    let inner = document.createTextNode(piece.text);
    for (const span of [...piece.spans].reverse()) {
      const ends = span.end === piece.end;
      inner = el("mark", { class: colour(span.label), title: span.score ? `${span.label} ${percent(span.score)}` : span.label }, inner, ends ? el("small", {}, text(span.label)) : null);
    }
    line.append(inner);
  }
  return found.length ? line : [line, nothing()];
}

function relation(whole, fact) {
  const end = (one) => el("span", { class: "end" }, text(slice(whole, one.start, one.end)));
  return el("li", {}, end(fact.head), el("span", { class: "arrow" }, "─ ", text(fact.label), " →"), end(fact.tail), fact.score ? el("span", { class: "number" }, percent(fact.score)) : null);
}

function happening(whole, event) {
  const roles = event.arguments.map((one) => [el("dt", {}, text(one.label)), el("dd", {}, text(slice(whole, one.start, one.end)))]);
  const title = el("h4", {}, text(event.trigger.label), el("span", { class: "soft" }, " · ", text(slice(whole, event.trigger.start, event.trigger.end))));
  return el("section", { class: "event" }, title, spans(whole, [event.trigger, ...event.arguments]), el("dl", {}, roles.flat()));
}

function inContext(one, row) {
  const verdict = one.text ? el("p", { class: "verdict" }, text(one.text), el("span", { class: "soft" }, percent(one.score))) : el("p", { class: "verdict soft" }, t("noAnswer"));
  const place = one.start === null || !one.text ? [] : [{ start: one.start, end: one.end, label: percent(one.score) }];
  const context = place.length ? spans(row.context, place) : el("p", { class: "reading" }, text(row.context));
  const others = (one.others ?? []).filter((other) => other.text).map((other) => [other.text, other.score]);
  return [verdict, context, el("p", { class: "soft" }, `${t("noAnswerShare")}: ${percent(one.no_answer)}`), others.length ? el("details", {}, el("summary", {}, t("nextBest")), bars(others)) : null];
}

function written(one) {
  return el("p", { class: "written" }, text(one.text || t("nothing")));
}

function near(one) {
  if (one.vector) return el("p", { class: "soft" }, `${t("vectorOf")} ${one.vector.length}`);
  return [el("p", { class: "soft" }, t("neighbours")), ranked(one.ranking.map(({ id, score }) => [id, score]))];
}

function ranked(entries) {
  return el("ol", { class: "ranked" }, entries.map(([id, score]) => el("li", {}, text(id), el("span", { class: "number" }, score.toFixed(3)))));
}
