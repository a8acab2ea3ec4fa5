// The planner's page. What is typed goes to the server as it is and is read there as on the command
// line; answers carry the number of their request, and an older one never replaces a newer one.

import { chart, number } from "/planner_chart.js";

const page = crypto.randomUUID();
const at = (id) => document.getElementById(id);
const state = { form: null, fields: {}, axes: {}, plotted: null, lines: {}, units: {}, target: {} };
const LABELS = { share: "Share of measurements", least: "As little as can be of", dose: "Largest dose", seconds: "Longest exposure / s", critical_dose: "Critical dose", factor: "Solver’s errors / bound", trial: "Measurements to try", seed: "Seed of the specimen" };
const HELPS = { share: "that keep to the allowed error", dose: "empty: the largest published", critical_dose: "of the specimen; empty: nothing fades", factor: "1: an ideal solver", trial: "simulated at the result; empty: none" };

function element(name, properties = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties))
    if (key in made) made[key] = value; else made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

// Told anew only where it changed, for those who listen to the page.
function tell(id, words) {
  if (at(id).textContent !== words) at(id).textContent = words;
}

// A name that may be broken after its dots and underscores.
const breakable = (name) => name.split(/(?<=[._])/).flatMap((part) => [part, element("wbr")]);

async function ask(method, path, body) {
  const reply = await fetch(path, { method, headers: body && { "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
  return { ok: reply.ok, content: await reply.json() };
}

// ---- the form

async function start() {
  const { content } = await ask("GET", "/api/scenarios");
  at("scenario").append(...content.scenarios.map(({ name }) => element("option", { value: name, textContent: name })));
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (content.scenarios.some(({ name }) => name === wanted)) at("scenario").value = wanted;
  at("scenario").addEventListener("change", choose);
  at("filter").addEventListener("input", filter);
  for (const kind of ["plan", "preview"]) {
    at(kind).addEventListener("click", () => compute(kind));
    at(`stop-${kind}`).addEventListener("click", () => running[kind] && ask("DELETE", `/api/jobs/${running[kind]}`));
  }
  at("settings").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("pagehide", () => fetch(`/api/jobs/${page}`, { method: "DELETE", keepalive: true }));
  await choose();
}

async function choose() {
  const name = at("scenario").value;
  const { ok, content } = await ask("GET", `/api/form/${encodeURIComponent(name)}`);
  if (name !== at("scenario").value) return;
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  Object.assign(state, { form: content, fields: {}, axes: {}, lines: {}, units: {}, target: {}, plotted: null });
  at("summary").textContent = ok ? content.summary : "";
  at("groups").replaceChildren(...content.groups.map(group));
  for (const id of ["axes", "lines", "previewed"]) at(id).replaceChildren();
  at("bounds").tBodies[0].replaceChildren();
  at("planned").hidden = true;
  options(content);
  for (const quantity of content.quantities) row(quantity);
  const first = Object.values(state.fields).find((field) => field.proportional);
  if (first) vary(first.name);
  refresh();
}

function group({ name, help, fields }) {
  const rows = fields.map(fieldRow);
  if (!name) return element("div", {}, ...rows);
  return element("details", {}, element("summary", { textContent: name }), element("p", { className: "help", textContent: help }), wrong(`settings.${name}`), ...rows);
}

function wrong(place) {
  return element("p", { className: "wrong", id: `wrong-${place}` });
}

function fieldRow(field) {
  const id = `settings.${field.name}`;
  const input = field.choices
    ? element("select", { id }, ...field.choices.map((choice) => element("option", { value: choice, textContent: choice })))
    : element("input", { id, spellcheck: false });
  input.value = field.default;
  input.setAttribute("aria-describedby", `wrong-${id} help-${id}`);
  const button = element("button", { type: "button", className: "vary", textContent: "vary" });
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-label", `vary ${field.name}`);
  button.addEventListener("click", () => { state.axes[field.name] ? fix(field.name) : vary(field.name); refresh(); });
  const short = field.name.split(".").pop();
  const limits = field.range && `${field.range[0].toUpperCase()}${field.range.slice(1)}${field.unit ? ` ${field.unit}` : ""}.`;
  const help = [field.help, limits].filter(Boolean).join(" ");
  const made = element("div", { className: "field" }, element("label", { htmlFor: id, title: field.name }, ...breakable(short)), input,
    element("span", { className: "unit", textContent: field.unit ?? "" }), button,
    element("p", { className: "help", id: `help-${id}`, textContent: help }), wrong(id));
  made.dataset.name = `${field.name} ${help}`.toLowerCase();
  input.addEventListener("input", () => { changed(field.name); follow(field.name); refresh(); });
  state.fields[field.name] = { ...field, input, button, row: made };
  return made;
}

function changed(name) {
  const field = state.fields[name];
  field.row.classList.toggle("changed", field.input.value !== field.default);
}

function filter() {
  const words = at("filter").value.toLowerCase().trim();
  for (const field of Object.values(state.fields)) field.row.hidden = !field.row.dataset.name.includes(words);
  for (const details of at("groups").querySelectorAll("details")) {
    const found = [...details.querySelectorAll(".field")].some((made) => !made.hidden);
    details.hidden = !found;
    if (words) details.open = found;
  }
}

// ---- what a plan goes through

function vary(name) {
  const field = state.fields[name];
  const id = `over.${name}`;
  const range = element("input", { id, value: field.over, spellcheck: false });
  range.setAttribute("aria-describedby", `wrong-${id}`);
  const slider = element("input", { type: "range", id: `slider.${name}`, min: 0, max: 0, value: 0 });
  slider.setAttribute("aria-label", `${name}, present value`);
  const shown = element("output", {});
  const remove = element("button", { type: "button", className: "vary", textContent: "✕" });
  remove.setAttribute("aria-label", `do not vary ${name}`);
  const made = element("div", { className: "axis" }, element("label", { htmlFor: id }, ...breakable(name)), range, slider, shown, remove, wrong(id));
  at("axes").append(made);
  field.button.setAttribute("aria-pressed", "true");
  state.axes[name] = { range, slider, shown, row: made, values: [] };
  range.addEventListener("input", () => { delete state.lines[name]; positions(name); refresh(); });
  slider.addEventListener("input", () => slid(name));
  remove.addEventListener("click", () => { fix(name); refresh(); field.button.focus(); });
  positions(name);
}

function fix(name) {
  state.axes[name].row.remove();
  delete state.axes[name];
  delete state.lines[name];
  state.fields[name].button.setAttribute("aria-pressed", "false");
}

// The values a slider stands at: all of a range where the bound scales, else those that are computed.
function positions(name) {
  const field = state.fields[name], axis = state.axes[name];
  const [low, high] = axis.range.value.split("..").map(Number);
  if (field.proportional && low > 0 && low < high) {
    axis.values = Array.from({ length: 201 }, (_, step) => {
      const value = Number((low * (high / low) ** (step / 200)).toPrecision(4));
      return field.integer ? Math.round(value) : value;
    });
  } else axis.values = (state.lines[name] ?? []).map((place) => place.value);
  axis.slider.max = Math.max(axis.values.length - 1, 0);
  axis.slider.disabled = axis.values.length < 2;
  follow(name);
}

const written = (value) => (typeof value === "string" ? value : JSON.stringify(value));

// Put the slider where the value is that was typed.
function follow(name) {
  const field = state.fields[name], axis = state.axes[name];
  if (!axis) return;
  const own = Number(field.input.value);
  const places = axis.values.map((value, place) => [written(value) === field.input.value ? -1 : Math.abs(Math.log(Number(value) / own)), place]);
  const nearest = places.filter(([away]) => !Number.isNaN(away)).sort((a, b) => a[0] - b[0])[0];
  if (nearest) axis.slider.value = nearest[1];
  say(name);
}

function slid(name) {
  const { input } = state.fields[name], axis = state.axes[name];
  input.value = written(axis.values[axis.slider.value]);
  changed(name);
  say(name);
  refresh(0);
}

function say(name) {
  const { input, unit } = state.fields[name], axis = state.axes[name];
  axis.shown.textContent = `${input.value} ${unit ?? ""}`;
  axis.slider.setAttribute("aria-valuetext", axis.shown.textContent);
}

// ---- the bound

function row(quantity) {
  const id = `target.${quantity}`;
  const input = element("input", { id, spellcheck: false });
  input.setAttribute("aria-label", `error allowed of ${quantity}`);
  input.setAttribute("aria-describedby", `wrong-${id}`);
  input.addEventListener("input", () => refresh());
  const plotted = element("input", { type: "radio", name: "plotted" });
  plotted.style.width = "auto";
  plotted.setAttribute("aria-label", `plot ${quantity}`);
  plotted.addEventListener("change", () => { state.plotted = quantity; drawLines(); });
  state.plotted ??= quantity;
  plotted.checked = state.plotted === quantity;
  const cells = Object.fromEntries(["spread", "unit", "needed", "verdict"].map((name) => [name, element("td", {})]));
  cells.unit.className = "unit";
  at("bounds").tBodies[0].append(element("tr", {}, element("th", { scope: "row", textContent: quantity }), cells.spread, cells.unit,
    element("td", {}, input, wrong(id)), cells.needed, cells.verdict, element("td", {}, plotted)));
  state.target[quantity] = { input, cells };
}

function typed() {
  const filled = (inputs) => Object.fromEntries(Object.entries(inputs).map(([name, { input }]) => [name, input.value.trim()]).filter(([, value]) => value));
  const settings = Object.values(state.fields).filter((field) => field.input.value !== field.default);
  const axes = Object.keys(state.axes);
  return {
    page,
    scenario: state.form.name,
    seed: Number(at("option.seed").value) || 0,
    settings: Object.fromEntries(settings.map((field) => [field.name, field.input.value])),
    over: Object.fromEntries(axes.map((name) => [name, state.axes[name].range.value])),
    point: Object.fromEntries(axes.map((name) => [name, state.fields[name].input.value])),
    target: filled(state.target),
    budget: Object.fromEntries(["dose", "seconds", "critical_dose"].map((name) => [name, at(`budget.${name}`).value.trim()]).filter(([, value]) => value)),
    share: at("share").value, factor: at("factor").value, trial: at("trial").value, least: at("least").value,
  };
}

let asked = 0, shown = 0, timer = 0;

function refresh(delay = 120) {
  clearTimeout(timer);
  timer = setTimeout(bound, delay);
}

async function bound() {
  clearTimeout(timer);
  const own = ++asked;
  performance.mark(`asked ${own}`);
  const { ok, content } = await ask("POST", "/api/bound", { ...typed(), number: own });
  if (own < shown) return;
  shown = own;
  complain(ok ? {} : content.errors);
  if (!ok) return void (tell("state-bound", ""));
  drawBound(content);
  performance.measure("bound", `asked ${own}`);
  // A job that ended while this was asked may know by now what was missing.
  if (content.job && !["failed", "refused"].includes(content.job.state) && own === asked) refresh(300);
}

function complain(errors) {
  for (const text of document.querySelectorAll(".wrong")) text.textContent = "";
  for (const input of document.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const [place, message] of Object.entries(errors)) {
    const text = at(`wrong-${place}`) ?? at("wrong-form");
    text.textContent = text.textContent ? `${text.textContent}; ${message}` : message;
    at(place)?.setAttribute("aria-invalid", "true");
    const details = text.closest("details");
    if (details) details.open = true;
  }
}

function drawBound({ here, lines, job }) {
  const failed = job && ["failed", "refused"].includes(job.state);
  tell("state-bound", failed ? job.message : job ? job.total > 1 ? `computing: ${job.done} of ${job.total} bounds` : "computing" : "");
  if (here) {
    for (const quantity of Object.keys(here.bounds)) if (!state.target[quantity]) row(quantity);
    for (const [name, { cells }] of Object.entries(state.target)) drawRow(here, name, cells);
    drawCost(here);
  }
  at("bounds").setAttribute("aria-busy", String(!here));
  state.here = here;
  Object.assign(state.lines, lines);
  for (const name of Object.keys(lines)) if (state.axes[name] && !state.axes[name].values.length) positions(name);
  drawLines();
}

function drawRow(here, name, cells) {
  const found = here.bounds[name], allowed = here.allowed[name];
  if (found?.unit) state.units[name] = found.unit;
  const unit = state.units[name] === "1" ? "" : state.units[name] ?? "";
  cells.spread.textContent = found ? (found.value === null ? "not determined" : number(found.value)) : "–";
  cells.unit.textContent = unit;
  cells.needed.textContent = allowed ? number(allowed) : "";
  const ratio = allowed && found && (found.value ?? Infinity) / allowed;
  cells.verdict.textContent = !ratio ? "" : ratio <= 1 ? "met" : `${number(ratio)} × too large`;
  cells.verdict.className = !ratio ? "" : ratio <= 1 ? "met" : "missed";
}

function drawCost({ exposure, unfit }) {
  const told = [];
  if (exposure) {
    if (exposure.dose !== null) told.push(`dose ${number(exposure.dose)} ${exposure.dose_unit}`);
    if (exposure.seconds !== null) told.push(`exposure ${number(exposure.seconds)} s`);
    told.push(`${exposure.values.toLocaleString("en").replaceAll(",", " ")} values`);
    if (exposure.published !== null) told.push(`published: ${number(exposure.published)} ${exposure.dose_unit}, ${exposure.source}`);
    told.push(...exposure.over);
  }
  at("cost").textContent = [...told, ...unfit].join(" · ");
}

function drawLines() {
  const name = state.plotted;
  const charts = Object.keys(state.axes).map((axis) => line(axis, name)).filter(Boolean);
  at("lines").replaceChildren(...charts);
}

function line(axis, quantity) {
  const places = (state.lines[axis] ?? []).map((place, index) => ({ ...place, index, y: place.spreads[quantity] })).filter((place) => place.y);
  const field = state.fields[axis], unit = (text) => (text && text !== "1" ? ` / ${text}` : "");
  const plain = (state.lines[axis] ?? []).every((place) => typeof place.value === "number");
  const x = (place) => (plain ? place.value : place.index);
  const own = state.here?.bounds[quantity]?.value, value = Number(field.input.value);
  const listed = (state.lines[axis] ?? []).findIndex((place) => written(place.value) === field.input.value);
  const here = plain ? value : listed;
  if (places.length < 1) return null;
  const words = (place, y) => `${axis} = ${place} ${field.unit ?? ""}: ${quantity} ${number(y)} ${state.units[quantity] ?? ""}`;
  const others = field.proportional ? [] : places.filter((place) => x(place) !== here);
  const dots = others.map((place) => ({ x: x(place), y: place.y, kind: "", text: words(written(place.value), place.y) }));
  if (own && Number.isFinite(here) && (plain || listed >= 0)) dots.push({ x: here, y: own, kind: "chosen", text: `${words(field.input.value, own)} (present value)` });
  return chart({
    label: `${quantity} against ${axis}`, x: axis.split(".").pop() + unit(field.unit), y: `${quantity}${unit(state.units[quantity])}`,
    names: plain ? null : state.lines[axis].map((place) => written(place.value)),
    lines: [{ points: places.map((place) => [x(place), place.y]), kind: "accent" }],
    dots, limit: state.here?.allowed[quantity],
  });
}

// ---- plan and preview

function options(form) {
  const made = (id, name, input) => element("div", {}, element("label", { htmlFor: id, textContent: name.endsWith("dose") && form.dose_unit ? `${LABELS[name]} / ${form.dose_unit}` : LABELS[name] }), input,
    element("p", { className: "help", textContent: HELPS[name] ?? "" }), wrong(id));
  const text = (id, name, value) => made(id, name, element("input", { id, value, spellcheck: false }));
  const least = element("select", { id: "least" }, ...["dose", "time"].map((value) => element("option", { value, textContent: value })));
  at("options").replaceChildren(text("share", "share", "0.9"), made("least", "least", least), text("budget.dose", "dose", ""),
    text("budget.seconds", "seconds", ""), text("budget.critical_dose", "critical_dose", ""), text("factor", "factor", "1"), text("trial", "trial", ""), text("option.seed", "seed", "0"));
  for (const input of at("options").querySelectorAll("input, select")) {
    input.setAttribute("aria-describedby", `wrong-${input.id}`);
    input.addEventListener("input", () => refresh());
  }
}

const running = {};

async function compute(kind) {
  const { ok, content } = await ask("POST", `/api/${kind}`, typed());
  complain(ok ? {} : content.errors);
  if (!ok) {
    tell(`state-${kind}`, "There is a mistake in what was typed.");
    document.querySelector("[aria-invalid]")?.focus();
    return;
  }
  const name = (running[kind] = content.job.name);
  at(`stop-${kind}`).hidden = at(`progress-${kind}`).hidden = false;
  const done = await watched(kind, name);
  if (running[kind] !== name) return;
  at(`stop-${kind}`).hidden = at(`progress-${kind}`).hidden = true;
  const { job, result } = done;
  tell(`state-${kind}`, { done: job.notes.join(" "), ended: "stopped" }[job.state] ?? job.message);
  if (job.state !== "done") return;
  if (kind === "plan") drawPlan(name, result, content.command); else drawPreview(name, result);
}

async function watched(kind, name) {
  for (;;) {
    const { ok, content } = await ask("GET", `/api/jobs/${name}`);
    if (!ok) return { job: { state: "failed", message: content.detail }, result: {} };
    if (running[kind] !== name || content.job.state !== "running") return content;
    const { stage, done, total } = content.job, bar = at(`progress-${kind}`);
    if (total) Object.assign(bar, { max: total, value: done }); else bar.removeAttribute("value");
    tell(`state-${kind}`, total ? `${stage}: ${done} of ${total}` : stage);
    await new Promise((wait) => setTimeout(wait, 250));
  }
}

function drawPlan(name, { summary, lines }, command) {
  const copy = element("button", { type: "button", textContent: "Copy as command" });
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command);
    tell("state-plan", "The command is copied.");
  });
  const link = (file, words, saved) => element("a", { className: "button", href: `/api/jobs/${name}/${file}`, textContent: words, download: saved });
  at("planned").replaceChildren(
    element("p", { className: "verdict", textContent: summary.verdict }),
    ...front(summary),
    table(summary),
    ...lines.map((line) => element("p", { className: "remark", textContent: line })),
    element("pre", { className: "command", id: "command", textContent: command, tabIndex: 0 }),
    element("div", { className: "row" }, copy, link("plan.json", "Download plan", "plan.json"), link("page.html", "Download page", "plan.html")),
  );
  at("planned").hidden = false;
}

const settingsOf = (summary, point) => summary.over.map((name) => `${name} = ${typeof point.settings[name] === "number" ? number(point.settings[name]) : written(point.settings[name])}`).join(", ");

function front(summary) {
  const spent = summary.least === "dose" ? "dose" : "seconds";
  const known = summary.points.filter((point) => point[spent] && point.excess);
  if (!known.length) return [];
  const chosen = summary.recommended ?? summary.nearest;
  const same = (point) => chosen && JSON.stringify(point.settings) === JSON.stringify(chosen.settings);
  const unit = spent === "dose" ? known[0].dose_unit : "s";
  const dots = known.map((point) => ({
    x: point[spent], y: point.excess, kind: same(point) ? "chosen" : point.fit ? "fit" : "",
    text: `${settingsOf(summary, point)}: ${number(point[spent])} ${unit}, spread / allowed ${number(point.excess)}${point.fit ? "" : ` – ${point.reasons.join("; ")}`}`,
  }));
  const best = summary.best.map((place) => summary.points[place]).filter((point) => point[spent] && point.excess);
  const lines = summary.solved.length
    ? known.map((point) => ({ kind: point.fit ? "accent" : "line", points: overRange(summary, point, spent) }))
    : [{ kind: "second", points: best.map((point) => [point[spent], point.excess]) }];
  return [chart({ label: "spread of every point by what is allowed", x: `${spent === "dose" ? "dose" : "exposure"} / ${unit}`, y: "spread / allowed", lines, dots, limit: 1 })];
}

// A point at other values of the setting that was solved for: the spread falls with its root.
function overRange(summary, point, spent) {
  const [[name, low, high]] = summary.solved, here = point.settings[name];
  return [low, high].map((end) => [point[spent] * (spent === "dose" ? end / here : 1), point.excess * Math.sqrt(here / end)]);
}

function table(summary) {
  const cells = (name, texts) => texts.map((text) => element(name, { textContent: text }));
  const rows = summary.best.slice(0, 12).map((place) => summary.points[place]).map((point) => element("tr", {}, ...cells("td", [
    ...summary.over.map((name) => (typeof point.settings[name] === "number" ? number(point.settings[name]) : written(point.settings[name]))),
    point.dose === null ? "" : `${number(point.dose)} ${point.dose_unit}`, number(point.seconds), number(point.excess)])));
  if (!rows.length) return "";
  const head = element("tr", {}, ...cells("th", [...summary.over, "dose", "time / s", "spread / allowed"]));
  return element("div", { className: "scroll" }, element("table", {}, element("caption", { className: "what", textContent: "The best of them" }), element("thead", {}, head), element("tbody", {}, ...rows)));
}

function drawPreview(name, result) {
  const figures = result.pictures.map((picture) => {
    const figure = element("figure", { role: "img" });
    figure.setAttribute("aria-label", picture.alternative);
    figure.innerHTML = picture.svg; // drawn by the server itself; the policy of the page runs no script in it
    figure.append(element("figcaption", { textContent: picture.caption }));
    return element("div", {}, ...(picture.heading ? [element("h3", { textContent: picture.heading })] : []), figure);
  });
  const whole = element("a", { className: "button", href: `/api/jobs/${name}/page.html`, target: "_blank", rel: "noopener", textContent: "Whole report" });
  at("previewed").replaceChildren(element("p", { className: "remark" }, `Simulated and solved in ${number(result.seconds)} s. `, whole), ...figures);
}

start();
