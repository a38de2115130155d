// Whether an answer was right, and what would have been.

import { call } from "./api.js";
import { announce, button, el, field, select, text } from "./dom.js";
import { t } from "./strings.js";
import { pointsBefore, slice } from "./text.js";

const UNJUDGED = new Set(["fill", "likelihood", "generate", "embed"]);

export function correct(about, asked) {
  if (!about.feedback) return el("p", { class: "soft small" }, t("feedbackOff"));
  const said = el("span", { role: "status" });
  const ids = {};
  async function send(correction, rating) {
    const told = { model: asked.model, task: asked.task, row: asked.row, prediction: asked.prediction, correction, rating, note: null };
    const id = (ids[JSON.stringify(told)] ??= newId());
    try {
      await call("/v1/feedback", { id, ...told });
      said.textContent = t("saved");
      announce(t("saved"));
      editor.replaceChildren();
    } catch (error) {
      said.textContent = error.message || t("unreachable");
    }
  }
  const editor = el("div", { class: "editor" });
  const open = () => {
    const { shown, read } = (EDITORS[asked.task] ?? asJson)(asked);
    const save = () => {
      try {
        send(read(), -1);
      } catch (error) {
        said.textContent = error.message;
      }
    };
    editor.replaceChildren(shown, el("div", { class: "acts" }, button(t("save"), save, { class: "main" }), button(t("cancel"), () => editor.replaceChildren(), { class: "quiet" })));
    editor.querySelector("select, input, textarea, button").focus();
  };
  return el("div", { class: "judge" }, button("👍", () => send(null, 1), { "aria-label": t("good"), class: "quiet" }), button("👎", () => send(null, -1), { "aria-label": t("bad"), class: "quiet" }), UNJUDGED.has(asked.task) ? null : button(t("correct"), open, { class: "quiet" }), said, editor);
}

// `crypto.randomUUID` is there in secure contexts alone.
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

const EDITORS = {
  classify: ({ labels, prediction }) => {
    const control = select(labels.map((label) => [label, label]), prediction.label, () => {});
    return { shown: field(t("label"), control), read: () => ({ label: control.value }) };
  },
  multilabel: ({ labels, prediction }) => {
    const boxes = labels.map((label) => [label, el("input", { type: "checkbox", checked: prediction.labels.includes(label) })]);
    const shown = el("fieldset", {}, el("legend", {}, t("labels")), boxes.map(([label, box]) => el("label", { class: "check" }, box, text(label))));
    return { shown, read: () => ({ labels: boxes.filter(([, box]) => box.checked).map(([label]) => label) }) };
  },
  score: ({ prediction }) => {
    const control = el("input", { type: "number", step: "any", value: prediction.value.toFixed(2) });
    return { shown: field(t("number"), control), read: () => ({ score: Number(control.value) }) };
  },
  choose: ({ row, prediction }) => {
    const control = select(row.choices.map((choice, i) => [String(i), choice]), String(prediction.index), () => {});
    return { shown: field(t("choice"), control), read: () => ({ label: Number(control.value) }) };
  },
  tag: ({ row, prediction, labels }) => spansOf(row.text, prediction.spans, labels),
  intent: ({ row, prediction, labels }) => {
    const intents = labels.filter((label) => !label.startsWith("slot:"));
    const control = select(intents.map((label) => [label, label]), prediction.label, () => {});
    const slots = spansOf(row.text, prediction.spans, labels.filter((label) => label.startsWith("slot:")).map((label) => label.slice("slot:".length)));
    return { shown: el("div", {}, field(t("label"), control), slots.shown), read: () => ({ label: control.value, ...slots.read() }) };
  },
  answer: ({ row, prediction }) => {
    const control = area(row.context);
    if (prediction.start !== null) mark(control, prediction.start, prediction.end);
    const read = () => {
      const { start, end } = marked(control);
      return { answers: start === end ? [] : [{ text: slice(row.context, start, end), start }] };
    };
    return { shown: field(t("selectAnswer"), control), read };
  },
  transform: written((text) => ({ target: text })),
  chat: written((content, { row }) => ({ messages: [...(row.messages ?? [{ role: "user", content: row.text }]), { role: "assistant", content }] })),
  rank: ordered,
  recommend: ordered,
};

function written(form) {
  return (asked) => {
    const control = el("textarea", { rows: 4, dir: "auto", value: asked.prediction.text });
    return { shown: field(t("rightText"), control), read: () => form(control.value, asked) };
  };
}

function asJson({ prediction }) {
  const control = el("textarea", { rows: 8, dir: "ltr", value: JSON.stringify(prediction, null, 1) });
  return { shown: field(t("right"), control), read: () => JSON.parse(control.value) };
}

// A text that can be selected in by keyboard, and not changed.
const area = (value) => el("textarea", { rows: 4, dir: "auto", readonly: true, value });

const marked = (control) => ({ start: pointsBefore(control.value, control.selectionStart), end: pointsBefore(control.value, control.selectionEnd) });

function mark(control, start, end) {
  control.setSelectionRange(slice(control.value, 0, start).length, slice(control.value, 0, end).length);
}

function spansOf(whole, found, labels) {
  const spans = found.map(({ start, end, label }) => ({ start, end, label }));
  const control = area(whole);
  const label = select(labels.map((one) => [one, one]), labels[0], () => {});
  const list = el("ul", { class: "facts" });
  const draw = () =>
    list.replaceChildren(...spans.map((span, i) => el("li", {}, el("span", { class: "end" }, text(slice(whole, span.start, span.end))), text(span.label), button("×", () => (spans.splice(i, 1), draw()), { class: "quiet", "aria-label": `${t("remove")} ${slice(whole, span.start, span.end)}` }))));
  const add = () => {
    const place = marked(control);
    if (place.start < place.end) spans.push({ ...place, label: label.value });
    spans.sort((a, b) => a.start - b.start);
    draw();
  };
  draw();
  return { shown: el("div", {}, field(t("selectText"), control), field(t("label"), label), button(t("addSpan"), add), list), read: () => ({ spans }) };
}

function ordered({ prediction }) {
  const ids = prediction.ranking.map((one) => one.id);
  const list = el("ol", { class: "ranked" });
  const up = (i) => {
    [ids[i - 1], ids[i]] = [ids[i], ids[i - 1]];
    draw();
    list.children[i - 1].querySelector("button")?.focus();
  };
  const draw = () => list.replaceChildren(...ids.map((id, i) => el("li", {}, text(id), i ? button("↑", () => up(i), { class: "quiet", "aria-label": `${t("up")}: ${id}` }) : null)));
  draw();
  return { shown: el("div", {}, el("p", {}, t("order")), list), read: () => ({ ranking: ids }) };
}
