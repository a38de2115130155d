// What the server has to do, and how good, small and fast its models are.

import { call } from "./api.js";
import { button, el, ms, size, svg, text } from "./dom.js";
import { exampleOf } from "./examples.js";
import { fieldsOf } from "./form.js";
import { language, t } from "./strings.js";
import { problem } from "./try.js";

const EVERY_MS = 2000;
const MEASURED = 20;

const figure = (value, name) => el("p", { class: "figure" }, el("strong", {}, value), el("span", {}, name));
const cells = (values) => el("tr", {}, values.map((value, i) => el(i ? "td" : "th", i ? {} : { scope: "row" }, value)));

function table(heads, rows) {
  const head = el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, name))));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": heads[0] }, el("table", {}, head, el("tbody", {}, rows)));
}

export function trafficView(onRefused) {
  const made = el("div", { class: "traffic" }, el("p", { class: "soft" }, t("loading")));
  let first = true;
  async function tick() {
    if (!first && !made.isConnected) return;
    first = false;
    if (!document.hidden) {
      try {
        made.replaceChildren(...drawn((await call("/v1/traffic")).answer));
      } catch (error) {
        made.replaceChildren(problem(error, { onRefused, ask: null }));
        if (error.status === 401) return;
      }
    }
    setTimeout(tick, EVERY_MS);
  }
  tick();
  return made;
}

function drawn(told) {
  const last = told.seconds.filter((second) => second.ago_s > 0 && second.ago_s <= 10);
  const count = (second) => Object.values(second.statuses).reduce((sum, one) => sum + one, 0);
  const rate = last.reduce((sum, second) => sum + count(second), 0) / 10;
  const statuses = {};
  for (const second of told.seconds) for (const [status, n] of Object.entries(second.statuses)) statuses[status] = (statuses[status] ?? 0) + n;
  const waiting = told.models.reduce((sum, one) => sum + one.waiting_tokens, 0);
  const rows = told.models.map((one) => cells([text(one.model), String(one.requests), ms(one.p50_ms), ms(one.p95_ms), ms(one.p99_ms), String(one.waiting_tokens)]));
  const shown = Object.entries(statuses).sort().map(([status, n]) => el("span", { class: status < "400" ? "chip" : "chip bad" }, `${status} × ${n}`));
  return [
    el("p", { class: "soft" }, t("lastMinutes", told.window_s)),
    el("div", { class: "figures" }, figure(rate.toFixed(1), t("perSecond")), figure(ms(told.p50_ms), "p50"), figure(ms(told.p95_ms), "p95"), figure(ms(told.p99_ms), "p99"), figure(String(waiting), t("waiting")), figure(String(told.in_flight), t("inFlight"))),
    told.requests ? columns(told, count) : el("p", { class: "soft" }, t("quiet")),
    el("p", { class: "chips", "aria-label": t("statuses") }, shown),
    table([t("model"), t("requests"), "p50", "p95", "p99", t("waiting")], rows),
  ];
}

function columns(told, count) {
  const most = Math.max(1, ...told.seconds.map(count));
  const made = svg("svg", { class: "columns", viewBox: `0 0 ${told.window_s} 30`, preserveAspectRatio: "none", role: "img", "aria-label": `${t("requests")}: ${told.requests}` });
  for (const second of told.seconds) {
    const bad = Object.entries(second.statuses).reduce((sum, [status, n]) => sum + (status >= "400" ? n : 0), 0);
    const x = told.window_s - 1 - second.ago_s;
    const height = (29 * count(second)) / most;
    made.append(svg("rect", { class: "full", x, y: 30 - height, width: 0.8, height }));
    if (bad) made.append(svg("rect", { class: "bad", x, y: 30 - (29 * bad) / most, width: 0.8, height: (29 * bad) / most }));
  }
  return made;
}

// ---- the models: families are those with an ancestor in common

export function modelsView(about, onRefused) {
  const speeds = new Map();
  const made = el("div", { class: "models" });
  const draw = () => {
    const found = families(about.models);
    const alone = found.filter((family) => family.length === 1).flat();
    const sections = [...found.filter((family) => family.length > 1), ...(alone.length ? [alone] : [])].map((family) => familyOf(family, speeds));
    made.replaceChildren(el("h2", {}, t("front")), el("div", { class: "acts" }, measured, el("span", { class: "soft hint" }, t("measureHint"))), ...sections);
  };
  const measured = button(t("measure"), async () => {
    measured.disabled = true;
    measured.textContent = t("measuring");
    try {
      for (const model of about.models) {
        speeds.set(model.name, await speedOf(model));
        draw();
      }
    } catch (error) {
      made.prepend(problem(error, { onRefused, ask: null }));
    }
    measured.textContent = t("measure");
    measured.disabled = false;
  });
  draw();
  call("/v1/traffic").then(({ answer }) => {
    for (const one of answer.models) {
      const name = one.model.split("@")[0];
      if (one.p50_ms !== null && !speeds.has(name)) speeds.set(name, one.p50_ms);
    }
    draw();
  }).catch((error) => made.prepend(problem(error, { onRefused, ask: null })));
  return made;
}

async function speedOf(model) {
  const [task] = model.tasks;
  const row = exampleOf(task, fieldsOf(task, model), model.mask, language);
  const times = [];
  for (let i = 0; i < MEASURED; i += 1) times.push((await call(`/v1/${task}`, { model: model.name, rows: [row] })).took);
  return times.sort((a, b) => a - b)[MEASURED / 2];
}

function families(models) {
  const found = [];
  for (const model of models) {
    const line = new Set([model.digest ?? model.name, ...model.parents.map((one) => one.digest)]);
    const kin = found.filter((one) => one.tasks.has(model.tasks[0]) && [...line].some((digest) => one.line.has(digest)));
    const family = { models: [...kin.flatMap((one) => one.models), model], line: new Set([...line, ...kin.flatMap((one) => [...one.line])]), tasks: new Set(model.tasks) };
    for (const one of kin) found.splice(found.indexOf(one), 1);
    found.push(family);
  }
  return found.map((one) => one.models);
}

// The score that all of a family have, that of test rows first.
function common(family) {
  const shared = Object.keys(family[0].scores).filter((name) => family.every((model) => name in model.scores));
  return shared.find((name) => name.startsWith("test.")) ?? shared.find((name) => !name.includes("loss") && !name.includes("step")) ?? null;
}

function familyOf(family, speeds) {
  const score = common(family);
  const scoreOf = (model) => {
    const name = score ?? common([model]);
    return name ? `${score ? "" : `${name} `}${model.scores[name].toFixed(3)}` : t("noScore");
  };
  const rows = family.map((model) => cells([el("span", {}, text(`${model.name}@${model.version}`)), model.tasks.map((task) => t(task)).join(", "), scoreOf(model), size(model.size_bytes), ms(speeds.get(model.name)), [model.stage, model.runtime, model.precision].filter(Boolean).join(" · ")]));
  const heads = [t("model"), t("task"), score ?? t("score"), t("sizeColumn"), t("latency"), t("madeBy")];
  const plot = score && families(family).length === 1 && family.length > 1 ? front(family, score) : null;
  return el("section", { class: "family" }, plot, table(heads, rows), family.map(details));
}

function details(model) {
  const line = model.parents.map((one) => el("li", {}, text(one.name), el("span", { class: "soft" }, ` ${one.stage} · ${one.digest.slice(0, 12)}`)));
  const scores = Object.entries(model.scores).map(([name, value]) => [el("dt", {}, text(name)), el("dd", {}, value.toPrecision(4))]);
  const labels = el("p", { class: "chips" }, model.labels.map((label) => el("span", { class: "chip" }, text(label))));
  return el("details", {}, el("summary", {}, `${t("details")}: `, text(model.name)), model.labels.length ? labels : null, el("dl", {}, scores.flat()), line.length ? el("div", {}, el("h4", {}, t("parents")), el("ol", {}, line)) : null);
}

function front(family, score) {
  const sizes = family.map((model) => Math.log(model.size_bytes));
  const scores = family.map((model) => model.scores[score]);
  const scale = (values, from, to) => {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return (value) => (most === least ? (from + to) / 2 : from + ((to - from) * (value - least)) / (most - least));
  };
  const [x, y] = [scale(sizes, 60, 440), scale(scores, 150, 30)];
  const made = svg("svg", { class: "front", viewBox: "0 0 520 190", role: "img", "aria-label": `${score}: ${t("front")}` });
  made.append(svg("path", { class: "axis", d: "M30 10V170H510" }));
  const name = (at, label, anchor) => made.append(svg("text", { ...at, "text-anchor": anchor, class: "soft" }, label));
  name({ x: 36, y: 16 }, `${score} · ${t("better")}`, "start");
  name({ x: 510, y: 185 }, `${t("sizeColumn")} · ${t("smaller")}`, "end");
  family.forEach((model, i) => {
    const [left, top] = [x(sizes[i]), y(scores[i])];
    made.append(svg("circle", { cx: left, cy: top, r: 6, class: "full" }), svg("text", { x: left, y: top - 11, "text-anchor": "middle" }, model.name), svg("text", { x: left, y: top + 20, "text-anchor": "middle", class: "soft" }, size(model.size_bytes)));
  });
  return made;
}
