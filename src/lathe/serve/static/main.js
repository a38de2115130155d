// The page: its views, its language, and the key where one is asked for.

import { call, key } from "./api.js";
import { button, el, field } from "./dom.js";
import { modelsView, trafficView } from "./figures.js";
import { STRINGS, language, speak, t } from "./strings.js";
import { problem, tryView } from "./try.js";

const VIEWS = ["try", "traffic", "models"];
const main = document.getElementById("main");
let about = null;

const view = () => (VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : VIEWS[0]);

function draw() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  const nav = document.getElementById("views");
  nav.setAttribute("aria-label", t("views"));
  nav.replaceChildren(...VIEWS.map((one) => el("a", { href: `#${one}`, "aria-current": one === view() ? "page" : null }, t(one))));
  const other = document.getElementById("language");
  other.textContent = t("other");
  other.lang = language === "zh" ? "en" : "zh-Hans";
  if (about === null) return;
  const views = { try: () => tryView(about, askKey), traffic: () => trafficView(askKey), models: () => modelsView(about, askKey) };
  main.replaceChildren(views[view()]());
}

function askKey() {
  const wrong = key.get() !== "";
  const control = el("input", { type: "password", autocomplete: "off", required: true, "aria-describedby": "key-hint" });
  const submit = (event) => {
    event.preventDefault();
    key.set(control.value.trim());
    start();
  };
  const hint = el("p", { id: "key-hint", class: "soft" }, t("keyHint"));
  const told = wrong ? el("p", { class: "problem", role: "alert" }, t("keyWrong")) : null;
  about = null;
  main.replaceChildren(el("form", { class: "key", submit }, el("h2", {}, t("keyNeeded")), told, field(t("key"), control), hint, el("button", { class: "main" }, t("open"))));
  control.focus();
}

async function start() {
  main.replaceChildren(el("p", { class: "soft" }, t("loading")));
  try {
    about = (await call("/v1/about")).answer;
    draw();
  } catch (error) {
    if (error.status === 401) askKey();
    else main.replaceChildren(problem(error, { onRefused: askKey, ask: start }));
  }
}

document.getElementById("language").addEventListener("click", () => {
  speak(Object.keys(STRINGS).find((one) => one !== language));
  const asks = about === null;
  draw();
  if (asks) start();
});
document.addEventListener("lathe-draw", draw);
window.addEventListener("hashchange", draw);
draw();
start();
