// Elements are made of names, attributes and texts; a text is never read as markup.

export function el(name, given = {}, ...children) {
  const made = document.createElement(name);
  fill(made, given);
  made.append(...children.flat(Infinity).filter((one) => one !== null && one !== undefined));
  return made;
}

export function svg(name, given = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  fill(made, given);
  made.append(...children);
  return made;
}

function fill(made, given) {
  for (const [key, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(key, value);
    else if (key === "value") made.value = value;
    else made.setAttribute(key, value === true ? "" : String(value));
  }
}

export const button = (text, act, given = {}) => el("button", { type: "button", click: act, ...given }, text);

export const text = (value) => el("bdi", { dir: "auto" }, value);

export function announce(message) {
  document.getElementById("live").textContent = message;
}

let used = 0;

export function field(label, control) {
  control.id = `field-${(used += 1)}`;
  return el("div", { class: "field" }, el("label", { for: control.id }, label), control);
}

export function select(options, chosen, act) {
  const made = el("select", { change: () => act(made.value) });
  for (const [value, shown] of options) made.append(el("option", { value, selected: value === chosen }, shown));
  return made;
}

export const percent = (share) => `${(100 * share).toFixed(share > 0.9995 || share < 0.0005 ? 2 : 1)} %`;
export const ms = (value) => (value === null || value === undefined ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);
export const size = (bytes) => (bytes === null ? "–" : bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
