// Plots by hand: time runs to the right, each series has a colour and a dash of its own.
const PLOT = { height: 190, left: 52, right: 10, top: 10, bottom: 22 };
const GAP = 20_000;
const narrow = matchMedia("(max-width: 759.98px)");

// `series`: [name, class, value of a sample]; `log`: a scale of powers of ten; `write`: how a value is written.
function plot(title, samples, series, { now, write, log = false, least = 1 }) {
  const { height, left, right, top, bottom } = PLOT, width = narrow.matches ? 340 : 640, from = now - 900_000;
  const inside = samples.filter((sample) => sample.at_ms > from && sample.at_ms <= now + 5000);
  const all = inside.flatMap((sample) => series.map(([, , value]) => value(sample)).filter((value) => value !== null));
  const highest = Math.max(least, ...all);
  const low = log ? Math.floor(Math.log10(Math.max(0.1, Math.min(least, ...all.filter((value) => value > 0))))) : 0;
  const high = log ? Math.max(low + 1, Math.ceil(Math.log10(highest))) : niceTop(highest);
  const x = (at) => left + ((at - from) / 900_000) * (width - left - right);
  const scaled = (value) => (log ? (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low) : value / high);
  const y = (value) => height - bottom - scaled(value) * (height - top - bottom);
  const steps = log ? Array.from({ length: high - low + 1 }, (_, place) => 10 ** (low + place)) : [0, high / 2, high];
  const grid = steps.map((value) => [
    svg("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
    svg("text", { class: "tick", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, write(value)),
  ]);
  const minutes = [15, 10, 5, 0].map((ago) => svg("text", { class: "tick", x: x(now - ago * 60_000), y: height - 6, "text-anchor": ago === 0 ? "end" : ago === 15 ? "start" : "middle" }, ago ? ago === 15 && !narrow.matches ? "15 min ago" : `${ago} min` : "now"));
  const lines = series.map(([name, kind, value]) => [svg("path", { class: `series ${kind}`, d: path(inside, value, x, y, false) }), svg("path", { class: `series alone ${kind}`, d: path(inside, value, x, y, true) })]);
  const last = samples[samples.length - 1];
  const legend = series.map(([name, kind, value]) => el("li", {},
    svg("svg", { class: "sample", width: 26, height: 10, "aria-hidden": "true" }, svg("path", { class: `series ${kind}`, d: "M1 5H25" })),
    ` ${name} `, el("b", {}, last && value(last) !== null ? write(value(last)) : "–")));
  const said = series.map(([name, , value]) => `${name} ${last && value(last) !== null ? write(value(last)) : "none"}`).join(", ");
  return el("figure", { class: "plot" }, el("figcaption", {}, title),
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}, the last 15 minutes. Now: ${said}. Highest: ${write(all.length ? Math.max(...all) : 0)}.` }, grid, minutes, lines),
    el("ul", { class: "legend" }, legend));
}

// A gap in time, or a sample without a value, is a gap in the line. `single`: the values that are alone, as dots.
function path(samples, value, x, y, single) {
  let text = "", before = null;
  samples.forEach((sample, place) => {
    const now = value(sample);
    if (now === null) { before = null; return; }
    const joined = before !== null && sample.at_ms - before < GAP;
    const next = samples[place + 1], alone = !joined && (!next || value(next) === null || next.at_ms - sample.at_ms >= GAP);
    if (alone === single) text += `${joined ? "L" : "M"}${x(sample.at_ms).toFixed(1)} ${y(now).toFixed(1)}${alone ? "h0.1" : ""}`;
    before = sample.at_ms;
  });
  return text;
}
function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((times) => times * power).find((top) => top >= value);
}
