// Texts that come piece by piece: conversations and beginnings that are gone on with.

import { streamed } from "./api.js";
import { correct } from "./correct.js";
import { button, el, field, ms, text } from "./dom.js";
import { exampleOf } from "./examples.js";
import { language, t } from "./strings.js";
import { copying, problem } from "./try.js";

const NEW_TOKENS = 128;

export function chat(task, model, about, onRefused) {
  const turns = [];
  const talk = el("section", { class: "talk", "aria-live": "polite" });
  const input = el("textarea", { rows: 2, dir: "auto", name: "text" });
  let running = null;

  async function send() {
    const asked = input.value;
    if (!asked.trim() || running) return;
    running = new AbortController();
    if (task === "chat") input.value = "";
    const given = [...turns, { role: "user", content: asked }];
    const path = task === "chat" ? "/v1/chat/completions" : "/v1/completions";
    const most = Math.min(NEW_TOKENS, about.new_tokens);
    const what = task === "chat" ? { messages: given } : { prompt: asked, max_tokens: most };
    const body = { model: model.name, ...what, stream: true };
    const said = el("p", { class: "written", dir: "auto" }, task === "chat" ? "" : el("span", { class: "soft" }, asked));
    const piece = el("bdi", { dir: "auto" });
    said.append(piece);
    const bubble = el("article", { class: "turn model", "aria-busy": "true" }, el("h4", {}, `${model.name}@${model.version}`), said);
    if (task === "chat") talk.append(el("article", { class: "turn you" }, el("h4", {}, t("you")), el("p", {}, text(asked))));
    talk.append(bubble);
    stop.hidden = false;
    const began = performance.now();
    try {
      for await (const part of streamed(path, body, running.signal)) piece.append(part);
      turns.push({ role: "user", content: asked }, { role: "assistant", content: piece.textContent });
      const row = task === "chat" ? { messages: given } : { text: asked };
      const about_it = { task, row, prediction: { text: piece.textContent }, model: `${model.name}@${model.version}`, labels: [] };
      bubble.append(el("p", { class: "soft" }, `${t("took")} ${ms(performance.now() - began)}`), copying(path, body), correct(about, about_it));
    } catch (error) {
      if (error.name !== "AbortError") bubble.append(problem(error, { onRefused, ask: null }));
    } finally {
      running = null;
      stop.hidden = true;
      bubble.setAttribute("aria-busy", "false");
    }
  }

  const keys = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
  };
  const take = () => {
    input.value = exampleOf(task, ["text"], model.mask, language).text;
    send();
  };
  const clear = () => {
    turns.length = 0;
    talk.replaceChildren();
    input.focus();
  };
  const stop = button(t("stop"), () => running?.abort(), { hidden: true });
  const acts = el("div", { class: "acts" }, button(t("send"), send, { class: "main" }), stop, button(t("example"), take), button(t("clear"), clear, { class: "quiet" }));
  const entry = el("form", { keydown: keys, submit: (event) => event.preventDefault() }, field(t(task === "chat" ? "message" : "prompt"), input), acts);
  return el("div", { class: "bench" }, entry, talk);
}
