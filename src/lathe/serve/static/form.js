// The input of a task: a control for each field of a row.

import { el, field, select } from "./dom.js";
import { t } from "./strings.js";

const LINES = new Set(["choices", "candidates", "history"]);
const LONG = new Set(["text", "text_pair", "context", "choices", "candidates", "history", "spans"]);

// The fields that a person fills in; the first form of rows that is not of tokens.
export function fieldsOf(kind, model) {
  if (kind === "generate") return ["text"];
  if (kind === "embed") return ["query", "candidates"];
  if (kind === "relate" && model.rows.some((form) => form.includes("spans"))) return ["text", "spans"];
  if (kind === "choose") return ["text", "question", "choices"];
  const found = model.rows.find((form) => !form.includes("tokens")) ?? ["text"];
  return found.map((name) => (name === "source" ? "text" : name)).filter((name) => name !== "id" && name !== "user");
}

export function form(fields, onChange) {
  const controls = {};
  const shown = fields.map((name) => {
    const given = { input: onChange, dir: "auto", name, autocomplete: "off", spellcheck: "false" };
    const control = LONG.has(name) ? el("textarea", { ...given, rows: name === "spans" ? 2 : 4 }) : el("input", { ...given, type: "text" });
    controls[name] = control;
    return field(t(name), control);
  });
  return { shown, read: () => read(controls), fill: (row) => fill(controls, row), focus: () => controls[fields[0]].focus() };
}

function read(controls) {
  const row = {};
  for (const [name, control] of Object.entries(controls)) {
    const lines = control.value.split("\n").filter((line) => line.trim());
    if (name === "spans") row.spans = lines.map(spanOf);
    else if (LINES.has(name)) row[name] = lines;
    else if (control.value || name !== "question" || "context" in controls) row[name] = control.value;
  }
  const filled = Object.entries(row).every(([name, value]) => (typeof value === "string" ? value.trim() : name === "choices" ? value.length > 1 : value.length > 0));
  return filled ? row : null;
}

function spanOf(line) {
  const [start, end, ...label] = line.trim().split(/\s+/);
  return { start: Number(start), end: Number(end), label: label.join(" ") || "entity" };
}

function fill(controls, row) {
  for (const [name, control] of Object.entries(controls)) {
    const value = row[name] ?? "";
    if (name === "spans") control.value = (value || []).map((one) => `${one.start} ${one.end} ${one.label}`).join("\n");
    else control.value = Array.isArray(value) ? value.join("\n") : value;
  }
}

export { select };
