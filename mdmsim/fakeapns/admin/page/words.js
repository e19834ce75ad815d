// How times, numbers and names are written.
const two = (number) => String(number).padStart(2, "0");
const clock = (at) => { const time = new Date(at); return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`; };
const exact = (at) => `${clock(at)}.${String(at % 1000).padStart(3, "0")}`;
const day = (at) => { const time = new Date(at); return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`; };
// Today's times without the date; `now` is the fake's clock, not the reader's.
const moment = (at, now) => (at ? el("time", { datetime: new Date(at).toISOString(), title: new Date(at).toISOString() }, day(at) === day(now) ? clock(at) : `${day(at)} ${clock(at)}`) : el("span", { class: "soft" }, "never"));
function span(milliseconds) {
  const size = Math.abs(milliseconds);
  if (size < 10) return `${Number(milliseconds.toFixed(1))} ms`;
  if (size < 1000) return `${Math.round(milliseconds)} ms`;
  if (size < 120_000) return `${Number((milliseconds / 1000).toFixed(size < 10_000 ? 2 : 1))} s`;
  if (size < 7_200_000) return `${Math.round(milliseconds / 60_000)} min`;
  if (size < 172_800_000) return `${(milliseconds / 3_600_000).toFixed(1)} h`;
  return `${(milliseconds / 86_400_000).toFixed(1)} days`;
}
const number = (value) => value.toLocaleString("en");
const short = (text, head = 8, tail = 4) => (text.length <= head + tail + 2 ? text : `${text.slice(0, head)}…${text.slice(-tail)}`);
const tokenLink = (topic, token) => (!token ? el("span", { class: "soft" }, "no token") : topic
  ? el("a", { class: "mono", href: `#/token/${encodeURIComponent(topic)}/${token}`, title: token }, short(token))
  : el("span", { class: "mono", title: token }, short(token)));
const MDM_TOPIC = "com.apple.mgmt.";
const topicText = (topic) => (topic ? el("span", { class: "mono topic", title: topic }, topic.startsWith(MDM_TOPIC) ? `${topic.slice(MDM_TOPIC.length, MDM_TOPIC.length + 17)}…` : short(topic, 16, 8)) : el("span", { class: "soft" }, "–"));
// What stands in `backticks` is a name to be written as it is.
const coded = (text) => text.split("`").map((part, place) => (place % 2 ? el("code", {}, part) : part));
const nothing = (text) => el("p", { class: "nothing soft" }, text);

// A word and a shape for what became of a request; never colour alone.
const STATES = {
  acted: ["✓", "passed", "acted upon"], acknowledged: ["✓", "passed", "the device has it"], delivered: ["›", "plain", "handed over"],
  stored: ["◦", "tolerated", "kept: nobody listens"], accepted: ["◦", "plain", "accepted"], superseded: ["–", "plain", "superseded"],
  expired: ["!", "tolerated", "expired"], lost: ["!", "tolerated", "dropped"], refused: ["✗", "failed", "refused"], unanswered: ["⚠", "failed", "no answer"],
};
const marked = (kind, sign, ...words) => el("span", { class: `marked ${kind}` }, el("span", { class: `mark ${kind}`, "aria-hidden": "true" }, sign), " ", ...words);
const stateWord = (state) => { const [sign, kind, words] = STATES[state] || ["?", "plain", state]; return marked(kind, sign, words); };
const verdict = (one) => (one.status === 200 ? marked("passed", "✓", "200") : one.status ? marked("failed", "✗", `${one.status} ${one.reason}`) : marked("failed", "⚠", "no answer"));

// A table that becomes a list of cards where it is narrow, and stays a table for who hears it: hence the roles. Columns: [heading, class]; rows: [key, cells, attributes].
function table(caption, columns, rows, more = {}) {
  return el("div", { class: "scroll" }, el("table", { class: "rows", role: "table", ...more }, el("caption", { class: "sr" }, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, columns.map(([name, kind]) => el("th", { scope: "col", role: "columnheader", class: kind }, name)))),
    el("tbody", { role: "rowgroup" }, rows)));
}
const row = (key, columns, cells, more = {}) => el("tr", { "data-key": key, role: "row", ...more }, cells.map((cell, place) => el("td", { role: "cell", class: columns[place][1], "data-label": columns[place][0] }, cell)));
const facts = (pairs) => el("dl", { class: "facts-list" }, pairs.filter((pair) => pair && pair[1] !== null && pair[1] !== undefined && pair[1] !== "").map(([name, ...value]) => [el("dt", {}, name), el("dd", {}, ...value)]));
const chips = (label, name, chosen, choices) => el("div", { class: "chips", role: "group", "aria-label": label },
  choices.map(([value, text]) => el("a", { class: "chip", href: hashOf({ ...state, ...NO_PAGE, [name]: value }), "aria-current": chosen === value ? "true" : null }, text)));
const NO_PAGE = { before: "", offset: "", open: "" };
function pages(offset, shown, total, next, size) {
  const link = (text, at, label) => (at === null ? el("span", { class: "turn off", "aria-hidden": "true" }, text) : el("a", { class: "turn", href: hashOf({ ...state, open: "", offset: at ? String(at) : "" }), "aria-label": label }, text));
  return el("p", { class: "pages" }, el("span", { class: "soft" }, total ? `${number(offset + 1)} to ${number(offset + shown)} of ${number(total)}` : ""),
    total > shown ? el("span", { class: "turns" }, link("⇤", offset ? 0 : null, "First page"), link("←", offset ? Math.max(0, offset - size) : null, "Previous page"), link("→", next, "Next page"), link("⇥", next === null ? null : Math.floor((total - 1) / size) * size, "Last page")) : "");
}
