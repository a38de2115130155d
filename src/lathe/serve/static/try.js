// Asking: one model, or two of the same task beside each other.

import { call, curl } from "./api.js";
import { chat } from "./chat.js";
import { correct } from "./correct.js";
import { announce, button, el, field, ms, select } from "./dom.js";
import { exampleOf } from "./examples.js";
import { fieldsOf, form } from "./form.js";
import { show } from "./show.js";
import { language, t } from "./strings.js";

const PAUSE_MS = 500;
const chosen = { task: null, model: null, other: "" };
const WRITES = new Set(["chat", "generate"]);

const titled = (model) => `${model.name}@${model.version}`;

export function tryView(about, onRefused) {
  const tasks = [...new Set(about.models.flatMap((model) => model.tasks))];
  if (!tasks.includes(chosen.task)) chosen.task = tasks[0];
  const able = about.models.filter((model) => model.tasks.includes(chosen.task));
  const model = able.find((one) => one.name === chosen.model) ?? able[0];
  const other = able.find((one) => one.name === chosen.other && one !== model);
  const again = () => document.dispatchEvent(new Event("lathe-draw"));
  const choose = (change, focus) => {
    Object.assign(chosen, change);
    again();
    document.querySelector(focus)?.focus();
  };
  const tabs = el("div", { class: "tasks", role: "group", "aria-label": t("task") }, tasks.map((task) =>
    button(t(task), () => choose({ task, model: null, other: "" }, `[data-task="${task}"]`), { "aria-pressed": String(task === chosen.task), "data-task": task })));
  const pick = el("div", { class: "picks" },
    field(t("model"), select(able.map((one) => [one.name, titled(one)]), model.name, (name) => choose({ model: name }, ".picks select"))),
    able.length > 1 ? field(t("compare"), select([["", t("nobody")], ...able.filter((one) => one !== model).map((one) => [one.name, titled(one)])], other?.name ?? "", (name) => choose({ model: model.name, other: name }, ".picks .field:last-child select"))) : null);
  const body = WRITES.has(chosen.task) ? chat(chosen.task, model, about, onRefused) : asking(chosen.task, model, other, about, onRefused);
  return el("div", { class: "try" }, tabs, pick, body);
}

function asking(task, model, other, about, onRefused) {
  const answers = el("section", { class: other ? "answers two" : "answers", "aria-live": "polite", "aria-busy": "false" });
  let waiting = null;
  let running = null;
  const inputs = form(fieldsOf(task, model), () => {
    clearTimeout(waiting);
    waiting = setTimeout(ask, PAUSE_MS);
  });
  async function ask() {
    clearTimeout(waiting);
    running?.abort();
    const row = inputs.read();
    if (row === null) return void answers.replaceChildren(el("p", { class: "soft" }, t("empty")));
    const mine = (running = new AbortController());
    answers.setAttribute("aria-busy", "true");
    const asked = [model, other].filter(Boolean);
    const found = await Promise.allSettled(asked.map((one) => call(`/v1/${task}`, { model: one.name, rows: [row] }, mine.signal)));
    if (mine.signal.aborted) return;
    answers.setAttribute("aria-busy", "false");
    answers.replaceChildren(...verdict(task, found), ...found.map((one, i) => card(one, asked[i], task, row, about, { onRefused, ask })));
  }
  const keys = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
  };
  const take = () => {
    inputs.fill(exampleOf(task, fieldsOf(task, model), model.mask, language));
    ask();
  };
  answers.append(el("p", { class: "soft" }, t("empty")));
  const acts = el("div", { class: "acts" }, button(t("ask"), ask, { class: "main" }), button(t("example"), take), el("span", { class: "soft hint" }, t("askHint")));
  return el("div", { class: "bench" }, el("form", { keydown: keys, submit: (event) => event.preventDefault() }, inputs.shown, acts), answers);
}

function card(found, model, task, row, about, acts) {
  const head = el("header", {}, el("bdi", { class: "title" }, titled(model)));
  const made = el("article", { "aria-label": titled(model) }, head);
  if (found.status === "rejected") {
    made.append(problem(found.reason, acts));
    return made;
  }
  const { answer, took } = found.value;
  const prediction = answer.predictions[0];
  head.replaceChildren(el("bdi", { class: "title" }, answer.model), el("span", { class: "soft" }, `${t("took")} ${ms(took)}`));
  announce(`${answer.model}: ${t("took")} ${ms(took)}`);
  made.append(show(task, row, prediction), copying(`/v1/${task}`, { model: model.name, rows: [row] }), correct(about, { task, row, prediction, model: answer.model, labels: model.labels }));
  return made;
}

export function copying(path, body) {
  const made = button(t("copyCurl"), async () => {
    const line = curl(path, body);
    try {
      await navigator.clipboard.writeText(line);
      announce(t("copied"));
      made.textContent = t("copied");
    } catch {
      made.replaceWith(el("textarea", { readonly: true, rows: 3, "aria-label": "curl", value: line }));
    }
  }, { class: "quiet copy" });
  return made;
}

// What went wrong, in the server's words, and the way out.
export function problem(error, { onRefused, ask }) {
  if (error.status === 401) onRefused();
  const titles = { 0: t("unreachable"), 429: t("busy"), 503: t("late") };
  const wait = error.retry ? el("p", {}, t("after", error.retry)) : null;
  const again = ask && [0, 429, 503].includes(error.status) ? button(t("retry"), ask) : null;
  return el("div", { class: "problem", role: "alert" }, el("strong", {}, titles[error.status] ?? `${t("refused")} (${error.status})`), el("p", { dir: "auto" }, error.message), wait, again);
}

const GIST = {
  classify: (one) => one.label,
  multilabel: (one) => one.labels,
  score: (one) => one.value.toFixed(2),
  choose: (one) => one.index,
  tag: (one) => one.spans.map((span) => [span.start, span.end, span.label]),
  intent: (one) => [one.label, one.spans.map((span) => [span.start, span.end, span.label])],
  relate: (one) => one.relations.map((fact) => [fact.head.start, fact.tail.start, fact.label]),
  event: (one) => one.events.map((event) => [event.trigger, ...event.arguments].map((span) => [span.start, span.end, span.label])),
  answer: (one) => [one.start, one.end],
  transform: (one) => one.text,
  fill: (one) => one.fillings.map((mask) => mask[0]?.text),
  likelihood: (one) => one.bits_per_byte.toFixed(3),
};

function verdict(task, found) {
  if (found.length < 2 || found.some((one) => one.status === "rejected")) return [];
  const gist = GIST[task] ?? ((one) => one.ranking?.map((entry) => entry.id));
  const [one, other] = found.map((each) => JSON.stringify(gist(each.value.answer.predictions[0])));
  const differs = one !== other;
  return [el("p", { class: differs ? "compared differ" : "compared" }, differs ? `≠ ${t("differ")}` : `= ${t("same")}`)];
}
