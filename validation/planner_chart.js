// Charts of the planner: points and lines on linear or logarithmic axes, as SVG.
// Points answer to the mouse and to the arrow keys; what one says is written below the chart.

const WIDTH = 460, HEIGHT = 250, LEFT = 62, RIGHT = 14, TOP = 12, BOTTOM = 42;

export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return Number(value.toPrecision(3)).toExponential().replace("e+", "e");
  return String(Number(value.toPrecision(3)));
}

function make(name, attributes, parent) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

// From values to pixels: `values` decide the limits, logarithmic where all are above 0.
function scale(values, from, to) {
  let low = Math.min(...values), high = Math.max(...values);
  const log = low > 0;
  if (log && high / low < 1.3) [low, high] = [low / 1.2, high * 1.2];
  if (!log && low === high) [low, high] = [low - 1, high + 1];
  const shown = log ? Math.log : (x) => x;
  const back = log ? Math.exp : (x) => x;
  const margin = 0.05 * (shown(high) - shown(low));
  const start = shown(low) - margin, span = shown(high) - shown(low) + 2 * margin;
  return {
    at: (value) => from + ((shown(value) - start) / span) * (to - from),
    ticks: log ? logTicks(back(start), back(start + span)) : plainTicks(start, start + span),
  };
}

function logTicks(low, high) {
  const factor = high / low;
  const digits = factor > 1e3 ? [1] : factor > 30 ? [1, 3] : factor > 3 ? [1, 2, 5] : [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
  const every = Math.max(1, Math.ceil(Math.log10(factor) / 7));
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    if (power % every === 0)
      for (const digit of digits) ticks.push(Number((digit * 10 ** power).toPrecision(3)));
  return ticks.filter((tick) => tick >= low && tick <= high);
}

function plainTicks(low, high) {
  const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((digit) => digit * power >= raw) * power;
  const ticks = [];
  for (let tick = Math.ceil(low / step); tick * step <= high; tick++) ticks.push(Number((tick * step).toPrecision(6)));
  return ticks;
}

// content: {label, x, y (texts of the axes), names (of x where they are no numbers), limit,
// lines: [{points: [[x, y]], kind}], dots: [{x, y, kind, text, choose}]}
export function chart(content) {
  const figure = document.createElement("figure");
  figure.className = "chart";
  const below = document.createElement("figcaption");
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": content.label }, figure);
  figure.append(below);
  const places = [...content.lines.flatMap((line) => line.points), ...content.dots.map((dot) => [dot.x, dot.y])];
  const ys = places.map((place) => place[1]).concat(content.limit ? [content.limit] : []);
  const x = scale(places.map((place) => place[0]), LEFT, WIDTH - RIGHT);
  const y = scale(ys, HEIGHT - BOTTOM, TOP);
  if (content.names) x.ticks = content.names.map((_, place) => place);
  drawAxes(svg, content, x, y);
  for (const line of content.lines)
    make("polyline", { class: line.kind, points: line.points.map(([a, b]) => `${x.at(a)},${y.at(b)}`).join(" ") }, svg);
  drawDots(svg, content.dots, x, y, below);
  below.textContent = content.dots.find((dot) => dot.kind === "chosen")?.text ?? "";
  return figure;
}

function drawAxes(svg, content, x, y) {
  const bottom = HEIGHT - BOTTOM, right = WIDTH - RIGHT;
  const text = (words, attributes) => { make("text", attributes, svg).textContent = words; };
  for (const tick of x.ticks) {
    make("line", { class: "tick", x1: x.at(tick), x2: x.at(tick), y1: TOP, y2: bottom }, svg);
    text(content.names ? content.names[tick] : number(tick), { x: x.at(tick), y: bottom + 15, "text-anchor": "middle" });
  }
  for (const tick of y.ticks) {
    make("line", { class: "tick", x1: LEFT, x2: right, y1: y.at(tick), y2: y.at(tick) }, svg);
    text(number(tick), { x: LEFT - 6, y: y.at(tick) + 4, "text-anchor": "end" });
  }
  make("path", { class: "frame", d: `M${LEFT} ${TOP}V${bottom}H${right}` }, svg);
  text(content.x, { x: (LEFT + right) / 2, y: HEIGHT - 6, "text-anchor": "middle" });
  text(content.y, { x: 0, y: 0, "text-anchor": "middle", transform: `translate(13 ${(TOP + bottom) / 2}) rotate(-90)` });
  if (content.limit)
    make("line", { class: "limit", x1: LEFT, x2: right, y1: y.at(content.limit), y2: y.at(content.limit) }, svg);
}

function drawDots(svg, dots, x, y, below) {
  const sorted = [...dots].sort((a, b) => a.x - b.x || a.y - b.y);
  const drawn = sorted.map((dot, place) => {
    const group = make("g", { class: `dot ${dot.kind}`, role: "img", tabindex: place ? -1 : 0, "aria-label": dot.text }, svg);
    make("circle", { class: "seen", cx: x.at(dot.x), cy: y.at(dot.y), r: dot.kind === "chosen" ? 5 : 3.5 }, group);
    make("circle", { class: "reach", cx: x.at(dot.x), cy: y.at(dot.y), r: 9 }, group);
    const say = () => { below.textContent = dot.text; };
    group.addEventListener("mouseenter", say);
    group.addEventListener("focus", say);
    return group;
  });
  drawn.forEach((group, place) => group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    const next = step && drawn[place + step];
    if (!next) return;
    event.preventDefault();
    group.setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus();
  }));
}
